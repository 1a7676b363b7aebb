"""Models of MLflow's transformers flavor: read, checked, merged, and made flat for a bundle."""
