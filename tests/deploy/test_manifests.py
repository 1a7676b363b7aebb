"""What the manifests say of the appliance, against its code."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from edge import app, config, cpu, gunicorn_conf
from edge.app import App
from edge.config import Settings
from edge.metrics import Metrics
from tests.deploy import kustomization
from tests.deploy.conftest import KUBERNETES
from tests.programs import find

NAME = {"app.kubernetes.io/name": "phial"}
DOCKERFILE = (KUBERNETES.parents[1] / "Dockerfile.amd64").read_text()


def settings_of(container) -> Settings:
    """The settings that the container's variables make, beside those of the image."""
    words = DOCKERFILE[DOCKERFILE.index("ENV ") :].split()
    image = dict(w.split("=", 1) for w in words if w.startswith("EDGE_"))
    return Settings.from_env(image | {one["name"]: one["value"] for one in container["env"]})


def bytes_of(quantity):
    """The bytes of a quantity in Mi or Gi."""
    number, unit = re.fullmatch(r"(\d+)([MG])i", quantity).groups()
    return int(number) << {"M": 20, "G": 30}[unit]


def test_every_variable_is_a_setting(container):
    names = [one["name"] for one in container["env"]]
    assert set(names) <= {variable for variable, _, _ in config.describe()}
    assert len(names) == len(set(names))
    assert settings_of(container).bundle == Path("/model")


def test_the_ports_are_the_images_own(objects, container):
    (port,) = container["ports"]
    assert port["containerPort"] == settings_of(container).port
    assert f"EXPOSE {port['containerPort']}\n" in DOCKERFILE
    (service,) = objects["Service"]["spec"]["ports"]
    (endpoint,) = objects["PodMonitor"]["spec"]["podMetricsEndpoints"]
    assert service["targetPort"] == endpoint["port"] == port["name"]


def test_the_paths_are_routes_that_ask_for_no_key(objects, container, tmp_path):
    (tmp_path / "keys").write_text("secret\n")
    appliance = App(Settings(api_key_file=tmp_path / "keys"), app.from_script("echo"))
    probes = [container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")]
    endpoints = objects["PodMonitor"]["spec"]["podMetricsEndpoints"]
    client = appliance.wsgi.test_client()
    statuses = {one["path"]: client.get(one["path"]).status_code for one in (*probes, *endpoints)}
    assert statuses == {"/livez": 200, "/readyz": 503, "/metrics": 200}
    assert {one["port"] for one in probes} == {container["ports"][0]["name"]}


def test_liveness_does_not_ask_for_the_model_and_readiness_does(container):
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["startupProbe"]["httpGet"]["path"] == "/readyz"


def test_there_is_time_to_leave_to_drain_and_to_say_goodbye(pod, container):
    settings = settings_of(container)
    pre_stop_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    server = gunicorn_conf.Server(settings, lambda: pytest.fail("nothing is wired"))
    grace_s = pod["terminationGracePeriodSeconds"]
    assert grace_s >= pre_stop_s + server.cfg.graceful_timeout + 5
    assert server.cfg.graceful_timeout > settings.leave_s + settings.drain_s


def test_it_serves_until_a_load_balancer_has_seen_that_it_is_not_ready(container):
    probe = container["readinessProbe"]
    noticed_s = probe["periodSeconds"] * probe["failureThreshold"]
    assert settings_of(container).leave_s > noticed_s


def test_a_pod_goes_only_when_its_successor_is_ready(objects):
    spec = objects["Deployment"]["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert objects["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1


def test_the_rollout_waits_longer_than_a_start_may_take(objects, container):
    probe = container["startupProbe"]
    start_s = probe["periodSeconds"] * probe["failureThreshold"]
    default_s = 600
    assert objects["Deployment"]["spec"].get("progressDeadlineSeconds", default_s) > start_s


def test_everything_selects_the_same_pods(objects):
    template = objects["Deployment"]["spec"]["template"]
    assert template["metadata"]["labels"] == NAME
    assert objects["Service"]["spec"]["selector"] == NAME
    selectors = [objects[kind]["spec"]["selector"] for kind in
                 ("Deployment", "PodDisruptionBudget", "PodMonitor")]  # fmt: skip
    spread = [one["labelSelector"] for one in template["spec"]["topologySpreadConstraints"]]
    assert all(one == {"matchLabels": NAME} for one in (*selectors, *spread))


def test_the_pod_has_no_rights(pod, container):
    assert not pod["automountServiceAccountToken"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    user = pod["securityContext"]["runAsUser"]
    assert f"\nUSER {user}:{pod['securityContext']['runAsGroup']}\n" in DOCKERFILE
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_a_service_named_edge_cannot_set_anything(pod):
    environment = {"EDGE_PORT": "tcp://10.0.0.1:80", "EDGE_SERVICE_HOST": "10.0.0.1"}
    assert len(config.survey(environment)[1]) == 2
    assert pod["enableServiceLinks"] is False


def test_the_account_has_no_token(objects, pod):
    assert objects["ServiceAccount"]["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] == objects["ServiceAccount"]["metadata"]["name"]


def test_both_architectures_are_welcome(pod):
    terms = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (term,) = terms["nodeSelectorTerms"]
    allowed = {one["key"]: set(one["values"]) for one in term["matchExpressions"]}
    files = {path.suffix[1:] for path in KUBERNETES.parents[1].glob("Dockerfile.*")}
    assert allowed == {"kubernetes.io/os": {"linux"}, "kubernetes.io/arch": files}


def test_request_and_limit_are_the_same_and_cores_whole(container):
    resources = container["resources"]
    assert resources["requests"] == resources["limits"]
    cores = int(resources["limits"]["cpu"])
    assert cpu.threads(cores) == cores
    assert bytes_of(resources["limits"]["memory"]) > 2 << 30


def test_a_pipeline_is_larger_and_more_patient():
    slim, pipeline = (
        kustomization.by_kind(kustomization.read(KUBERNETES / name))["Deployment"]["spec"]
        for name in ("slim", "pipeline")
    )
    (small,), (large,) = (one["template"]["spec"]["containers"] for one in (slim, pipeline))
    memory = [bytes_of(one["resources"]["limits"]["memory"]) for one in (small, large)]
    assert memory[0] < memory[1]
    assert settings_of(small).drain_s < settings_of(large).drain_s
    patience = [one["startupProbe"]["failureThreshold"] for one in (small, large)]
    assert patience[0] < patience[1]
    assert small["image"] != large["image"]


def test_keys_come_as_a_file_of_the_secret(with_keys):
    deployment = kustomization.by_kind(kustomization.read(with_keys))["Deployment"]
    (container,) = kustomization.containers(deployment)
    path = settings_of(container).api_key_file
    mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    volumes = {one["name"]: one for one in deployment["spec"]["template"]["spec"]["volumes"]}
    assert str(path) == f"{mounts['api-keys']}/keys"
    assert volumes["api-keys"]["secret"] == {"secretName": "phial-api-keys", "defaultMode": 0o440}
    assert deployment["spec"]["template"]["spec"]["securityContext"]["fsGroup"]


def scaling_metrics(objects):
    metrics = [one["pods"] for one in objects["HorizontalPodAutoscaler"]["spec"]["metrics"]]
    return {one["metric"]["name"]: float(one["target"]["averageValue"]) for one in metrics}


def test_the_autoscaler_follows_metrics_that_exist(objects, container):
    started = Metrics("model")
    exposed = {family.name for family in started.registry.collect()}
    targets = scaling_metrics(objects)
    assert set(targets) == {"edge_requests_waiting", "edge_requests_running"} <= exposed
    settings = settings_of(container)
    assert targets["edge_requests_running"] < settings.slots
    assert targets["edge_requests_waiting"] < settings.queue


def test_the_autoscaler_is_quick_up_and_slow_down(objects):
    spec = objects["HorizontalPodAutoscaler"]["spec"]
    up, down = spec["behavior"]["scaleUp"], spec["behavior"]["scaleDown"]
    assert up["stabilizationWindowSeconds"] < down["stabilizationWindowSeconds"]
    assert up["policies"][0]["periodSeconds"] < down["policies"][0]["periodSeconds"]
    assert 2 <= spec["minReplicas"] < spec["maxReplicas"]
    deployment = objects["Deployment"]
    assert spec["scaleTargetRef"] == {
        "apiVersion": deployment["apiVersion"],
        "kind": deployment["kind"],
        "name": deployment["metadata"]["name"],
    }
    assert "replicas" not in deployment["spec"]


def test_the_adapter_finds_what_the_autoscaler_asks_for(objects, tmp_path):
    """The rule's query, filled in as the adapter does, is one that Prometheus takes."""
    rules = yaml.safe_load((KUBERNETES / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
    (rule,) = rules
    pattern = re.search(r'__name__=~"(.+?)"', rule["seriesQuery"])[1]
    assert all(re.fullmatch(pattern.strip("^$"), name) for name in scaling_metrics(objects))
    filled = {"Series": "edge_requests_waiting", "GroupBy": "pod",
              "LabelMatchers": 'namespace="a",pod=~"b|c"'}  # fmt: skip
    query = re.sub(r"<<\.(\w+)>>", lambda word: filled[word[1]], rule["metricsQuery"])
    record = {"groups": [{"name": "a", "rules": [{"record": "a:b", "expr": query}]}]}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(record))
    subprocess.run(
        [find("promtool"), "check", "rules", tmp_path / "rules.yml"], check=True, timeout=30
    )
    assert rule["resources"]["overrides"] == {
        "namespace": {"resource": "namespace"}, "pod": {"resource": "pod"},
    }  # fmt: skip
