"""Unknown routes and wrong methods under /v1, answered in OpenAI's error shape."""

from __future__ import annotations

import flask
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def install(routes: flask.Blueprint) -> None:
    """Catch what no other route of /v1 takes: 404, or 405 with `Allow`."""

    @routes.route("/", defaults={"rest": ""}, methods=METHODS)
    @routes.route("/<path:rest>", methods=METHODS)
    def unknown(rest: str) -> flask.Response:
        request = flask.request
        allowed = _allowed_methods()
        if not allowed:
            message = f"there is no {request.method} /v1/{rest[:80]}"
            return _refusal(404, message, "unknown_url")
        message = f"/v1/{rest[:80]} takes {' or '.join(allowed)}, not {request.method}"
        response = _refusal(405, message, "method_not_supported")
        response.headers["Allow"] = ", ".join(allowed)
        return response


def _allowed_methods() -> list[str]:
    """The methods under which another route takes the current path."""
    adapter = flask.current_app.create_url_adapter(flask.request)
    if adapter is None:
        return []
    return [method for method in METHODS if _is_taken(adapter, method)]


def _is_taken(adapter: MapAdapter, method: str) -> bool:
    try:
        endpoint, _ = adapter.match(method=method)
    except HTTPException:
        return False
    return bool(endpoint != flask.request.endpoint)


def _refusal(status: int, message: str, code: str) -> flask.Response:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    response = flask.jsonify({"error": error})
    response.status_code = status
    return response
