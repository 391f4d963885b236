"""The control plane level: the real API server does what the tests built on it rely on."""

import lightkube
import pytest
from lightkube import ApiError
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Pod, ServiceAccount


def test_namespace_is_new_and_empty(namespace):
    assert list(namespace.client.list(ConfigMap, fields={"metadata.name": "mine"})) == []
    namespace.client.create(ConfigMap(metadata=ObjectMeta(name="mine"), data={"key": "value"}))
    assert namespace.client.get(ConfigMap, "mine").data == {"key": "value"}


def test_service_account_has_its_own_rights_only(namespace):
    namespace.client.create(ServiceAccount(metadata=ObjectMeta(name="powerless")))
    config = lightkube.KubeConfig.from_file(namespace.kubeconfig_for("powerless"))
    with pytest.raises(ApiError, match=f"system:serviceaccount:{namespace.name}:powerless"):
        list(lightkube.Client(config=config, namespace=namespace.name, trust_env=False).list(Pod))


def test_aggregation_layer_has_its_client_certificate(control_plane):
    published = control_plane.client("kube-system").get(ConfigMap, "extension-apiserver-authentication").data
    assert "BEGIN CERTIFICATE" in published["requestheader-client-ca-file"]
    assert published["requestheader-allowed-names"] == '["front-proxy-client"]'
