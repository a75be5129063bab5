"""The manifest of a PyTorchJob in docker/cluster, against its schema."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

MANIFEST = Path(__file__).resolve().parents[1] / "docker" / "cluster" / "pytorchjob.yaml"

# The fields of kubeflow.org/v1 PyTorchJob and of a pod that the manifest may use, with the types of their values.
CONTAINER = {
    "name": str,
    "image": str,
    "args": [str],
    "env": [{"name": str, "value": str}],
    "resources": {"requests": {str: str}, "limits": {str: str}},
    "securityContext": {
        "allowPrivilegeEscalation": bool,
        "readOnlyRootFilesystem": bool,
        "capabilities": {"drop": [str]},
    },
    "volumeMounts": [{"name": str, "mountPath": str}],
}
POD = {
    "terminationGracePeriodSeconds": int,
    "securityContext": {
        "runAsNonRoot": bool,
        "runAsUser": int,
        "runAsGroup": int,
        "fsGroup": int,
        "seccompProfile": {"type": str},
    },
    "containers": [CONTAINER],
    "volumes": [
        {"name": str, "persistentVolumeClaim": {"claimName": str}, "emptyDir": {"medium": str, "sizeLimit": str}}
    ],
}
REPLICA = {"replicas": int, "restartPolicy": {"Always", "OnFailure", "Never", "ExitCode"}, "template": {"spec": POD}}
PYTORCHJOB = {
    "apiVersion": {"kubeflow.org/v1"},
    "kind": {"PyTorchJob"},
    "metadata": {"name": str},
    "spec": {
        "nprocPerNode": str,
        "elasticPolicy": {
            "minReplicas": int,
            "maxReplicas": int,
            "rdzvBackend": {"c10d", "etcd", "etcd-v2"},
            "rdzvPort": int,
            "rdzvHost": str,
            "rdzvId": str,
            "rdzvConf": [{"key": str, "value": str}],
            "standalone": bool,
            "maxRestarts": int,
        },
        "runPolicy": {
            "backoffLimit": int,
            "cleanPodPolicy": {"All", "Running", "None"},
            "ttlSecondsAfterFinished": int,
            "activeDeadlineSeconds": int,
        },
        "pytorchReplicaSpecs": {"Master": REPLICA, "Worker": REPLICA},
    },
}


def misfits(value: Any, schema: Any, where: str = "") -> Iterator[str]:
    """Yield the places of a manifest that do not fit the schema."""
    if isinstance(schema, set):
        if value not in schema:
            yield f"{where}: {value!r} is none of {sorted(schema)}"
    elif isinstance(schema, type):
        if type(value) is not schema:
            yield f"{where}: {value!r} is no {schema.__name__}"
    elif not isinstance(value, type(schema)):
        yield f"{where}: {value!r} is no {type(schema).__name__}"
    elif isinstance(value, list):
        for place, entry in enumerate(value):
            yield from misfits(entry, schema[0], f"{where}[{place}]")
    else:
        for key, entry in value.items():
            kind = schema.get(key, schema.get(str))
            yield from [f"{where}: unknown {key}"] if kind is None else misfits(entry, kind, f"{where}.{key}")


def test_the_kubernetes_manifest_fits_its_schema() -> None:
    manifest = yaml.safe_load(MANIFEST.read_text())
    assert list(misfits(manifest, PYTORCHJOB)) == []
    pod = manifest["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["name"] == "pytorch", "the operator gives torchrun's variables to this one only"
    assert {m["name"] for m in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert {m["mountPath"] for m in container["volumeMounts"]} == {"/workspace", "/dev/shm", "/tmp"}
    patience = {entry["name"]: int(entry["value"]) for entry in container["env"]}["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"]
    assert pod["terminationGracePeriodSeconds"] > patience
    assert container["args"][0] == "torchrun"
    assert container["resources"]["requests"]["nvidia.com/gpu"] == container["resources"]["limits"]["nvidia.com/gpu"]
    manifest["spec"]["runPolicy"]["cleanPodPolicy"] = "Some"
    manifest["spec"]["pytorchReplicaSpecs"]["Worker"]["replica"] = 2
    container["env"][0]["value"] = 120
    assert len(list(misfits(manifest, PYTORCHJOB))) == 3
