"""`escrowctl fund` on manifests as people write them: the id takes the request's place, and nothing else changes."""

import json

import pytest

from runtime.errors import BadInput
from runtime.escrowctl.manifest import read_manifest

REQUEST = '{"payee": "worker-agent-007", "amountUsdc": "0.75"}'
JOB = """\
# as somebody wrote it
apiVersion: batch/v1
kind: Job
metadata:
  name: by-hand
  annotations:
{annotations}
spec:
  suspend: true
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: main   # two blanks, a comment
          image: "registry.example/agent:1"
          args: [22:22, '1e-5', "0o17", 'NO', '~', 2026-11-27, a_1]
          env:
            - {{name: TOLERANCE, value: "1e-5"}}
            - {{name: MODE, value: '0o17'}}
            - {{name: ANSWER, value: "no"}}
"""
WAYS = {
    "single quotes": (
        f"    purpleflea.com/escrow-request: '{REQUEST}'",
        '    purpleflea.com/escrow-id: "esc_1"',
    ),
    "a quoted key, and neighbours": (
        f"    a: 'b'  # first\n    \"purpleflea.com/escrow-request\": '{REQUEST}'   # why\n    c: d",
        '    a: \'b\'  # first\n    "purpleflea.com/escrow-id": "esc_1"   # why\n    c: d',
    ),
    "a folded block": (
        f"    purpleflea.com/escrow-request: >-\n      {REQUEST}\n    c: d",
        '    purpleflea.com/escrow-id: "esc_1"\n    c: d',
    ),
    "a literal block that ends the mapping": (
        f"    purpleflea.com/escrow-request: |\n      {REQUEST}",
        '    purpleflea.com/escrow-id: "esc_1"',
    ),
    "in braces": (
        f"    {{purpleflea.com/escrow-request: '{REQUEST}', c: d}}",
        '    {purpleflea.com/escrow-id: "esc_1", c: d}',
    ),
}


def job(annotations: str) -> str:
    return JOB.format(annotations=annotations)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("way", WAYS)
def test_only_the_request_is_exchanged(way, line_end, tmp_path):
    before, after = WAYS[way]
    file = tmp_path / "job.yaml"
    file.write_bytes(job(before).replace("\n", line_end).encode())
    manifest = read_manifest(file)
    assert (manifest.name, manifest.namespace, manifest.request.strip()) == ("by-hand", "default", REQUEST)
    funded = manifest.funded("esc_1")
    assert funded.replace("\r\n", "\n") == job(after)


REFUSED = {
    "an anchor": (f"'{REQUEST}'", "*request", "cannot be read as YAML"),
    "JSON without quotes": (f"'{REQUEST}'", REQUEST, r"annotations\[purpleflea.com/escrow-request\] must be text"),
    "two documents": ("# as somebody", "a: 1\n---\n# as", "it holds 2 documents"),
    "another kind": ("kind: Job", "kind: CronJob", "it is one batch/v1 CronJob"),
    "a list": ("apiVersion: batch/v1\nkind: Job\n", "kind: List\n", "it is one List"),
    "another group's Job": ("batch/v1", "batch.volcano.sh/v1alpha1", "batch.volcano.sh/v1alpha1 Job"),
    "no version": ("apiVersion: batch/v1\n", "", "it is one Job"),
    "no name": ("  name: by-hand\n", "", "metadata.name is missing"),
    "a name that is a number": ("name: by-hand", "name: 2024", "metadata.name must be text"),
    **{
        f"a name that kubectl reads as a {what}": (": by-hand", f": {name}", "metadata.name must be text")
        for what, name in (("truth value", "y"), ("whole number", "0o17"), ("number", "1e3"))
    },
    "a label that is no text": ("  name: by-hand", "  name: x\n  labels: {v: 1.10}", r"labels\[v\] must be text"),
    "an annotation that is none": ("  annotations:", "  annotations:\n    a: 5", r"annotations\[a\] must be text"),
    "an annotation twice": ("  annotations:", "  annotations:\n    a: b\n    a: c", "the key 'a' stands twice"),
    "an empty id": ("  annotations:", "  annotations:\n    purpleflea.com/escrow-id: ''", "escrow-id is empty"),
    "an id that is null": ("  annotations:", "  annotations:\n    purpleflea.com/escrow-id:", "escrow-id is empty"),
    "a request that others refer to": ("spec:", "    a: *r\nspec:", "without an anchor"),
    "a request by a merge": (
        "  annotations:\n    purpleflea",
        "  annotations:\n    <<:\n      purpleflea",
        "write it there",
    ),
    "a name that no Job may have": ("name: by-hand", "name: By_Hand", "'By_Hand' is no name"),
    "a namespace likewise": ("name: by-hand", "name: x\n  namespace: a b", "metadata.namespace 'a b' is no name"),
    "nothing to run": ("containers:", "initContainers:", "containers is missing"),
    "a number in the environment": ('"no"', "7", r"containers\[0\].env\[2\].value must be text; put it in quotes"),
    "a truth value among the arguments": ("'NO'", "NO", r"containers\[0\].args\[3\] must be text; put it in quotes"),
    "a text for a truth value": ("suspend: true", "suspend: 'true'", "spec.suspend must be true or false, without"),
    "a text for a number": ("suspend: true", "backoffLimit: '3'", "spec.backoffLimit must be a whole number"),
    "an unknown field": ("suspend:", "suspended:", "spec.suspended is no field .* did you mean suspend"),
    "a container without a name": ("- name: main", "- tty: false", r"containers\[0\].name is missing"),
    "a Deployment's restart policy": ("restartPolicy: Never", "dnsPolicy: Default", "must be Never or OnFailure"),
    "a key twice": ("kind: Job", "kind: Job\nkind: Job", "the key 'kind' stands twice, at line 4"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_wrong_is_found_before_anything_is_paid(what, tmp_path):
    old, new, words = REFUSED[what]
    text = job(WAYS["single quotes"][0])
    if "*r" in new:
        text = text.replace("'{", "&r '{")
    assert old in text
    file = tmp_path / "job.yaml"
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(BadInput, match=words) as refused:
        read_manifest(file)
    assert str(file) in str(refused.value)


def test_a_file_that_is_no_text_or_not_there_is_named(tmp_path):
    file = tmp_path / "job.yaml"
    with pytest.raises(BadInput, match=r"job\.yaml cannot be read: No such file"):
        read_manifest(file)
    file.write_bytes(job("    a: b").replace("two blanks", "zwei Lücken").encode("latin-1"))
    with pytest.raises(BadInput, match=r"job\.yaml is no UTF-8 text"):
        read_manifest(file)


@pytest.mark.parametrize("annotations", ["", "    # none yet", "    {}", "    ~"])
def test_a_job_without_annotations_asks_for_nothing(annotations, tmp_path):
    file = tmp_path / "job.yaml"
    file.write_text(job(annotations))
    assert read_manifest(file).request is None


def test_a_request_behind_an_anchor_is_refused(tmp_path):
    file = tmp_path / "job.yaml"
    file.write_text(job(f"    a: &request '{REQUEST}'\n    purpleflea.com/escrow-request: *request"))
    with pytest.raises(BadInput, match="is an alias"):
        read_manifest(file)


def test_json_stays_json(tmp_path):
    metadata = {"name": "by-hand", "annotations": {"purpleflea.com/escrow-request": REQUEST, "\u00e9": "d"}}
    spec = {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "a:1"}]}}}
    said = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}
    file = tmp_path / "job.json"
    for form in ({"indent": 2}, {"indent": "\t"}, {"separators": (",", ":")}, {"ensure_ascii": False}):
        file.write_text(json.dumps(said, **form))
        funded = json.loads(read_manifest(file).funded("esc_1"))
        assert funded["metadata"].pop("annotations") == {"purpleflea.com/escrow-id": "esc_1", "\u00e9": "d"}
        assert funded == {**said, "metadata": {"name": "by-hand"}}


@pytest.mark.parametrize("around", ["\ufeff%s", "---\n%s", "%s---\n", "# why\n---\n%s...\n"])
def test_what_stands_around_the_one_document_is_no_matter(around, tmp_path):
    file = tmp_path / "job.yaml"
    file.write_text(around % job(WAYS["single quotes"][0]))
    assert read_manifest(file).funded("esc_1") == (around % job(WAYS["single quotes"][1])).lstrip("\ufeff")


def test_an_id_that_comes_by_a_merge_is_seen(tmp_path):
    """As kubectl reads it: what is paid for already is not paid for again."""
    file = tmp_path / "job.yaml"
    file.write_text(job(f"    <<: {{purpleflea.com/escrow-id: esc_9}}\n    purpleflea.com/escrow-request: '{REQUEST}'"))
    assert read_manifest(file).escrow_id == "esc_9"
