"""The workflow files in examples/ci: right by the schemas of GitHub and GitLab, safe by zizmor, run where they can."""

import json
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from components.diff_report.text import MARK

CI = Path(__file__).parents[2] / "examples" / "ci"
GITHUB, GITLAB = CI / "github-workflow.yaml", CI / "gitlab-ci.yaml"
BESIDE = Path(sys.executable).parent


def run(*command, **more):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **more)


def steps():
    """Every shell script of the GitHub workflow, by the name of its step."""
    jobs = yaml.safe_load(GITHUB.read_text())["jobs"].values()
    return {step["name"]: step["run"] for job in jobs for step in job["steps"]}


@pytest.mark.parametrize(
    "schema",
    [
        ("vendor.github-workflows", GITHUB),
        ("custom.github-workflows-require-timeout", GITHUB),
        ("vendor.gitlab-ci", GITLAB, "--data-transform", "gitlab-ci", "--regex-variant", "nonunicode"),
    ],
    ids=lambda schema: schema[0],
)
def test_the_schema_takes_it(schema):
    done = run(BESIDE / "check-jsonschema", "--builtin-schema", *schema)
    assert done.returncode == 0, done.stdout + done.stderr


def test_zizmor_finds_nothing():
    done = run(BESIDE / "zizmor", "--offline", "--no-progress", "--persona", "pedantic", "--collect=all", GITHUB)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_action_of_anybodys_is_used_and_each_script_is_a_shells():
    jobs = yaml.safe_load(GITHUB.read_text())["jobs"].values()
    assert [step for job in jobs for step in job["steps"] if "uses" in step] == []
    gitlab = [job["script"] for job in yaml.safe_load(GITLAB.read_text()).values() if "script" in job]
    for script in [*steps().values(), *("\n".join(lines) for lines in gitlab)]:
        done = run("bash", "-n", "-c", script)
        assert done.returncode == 0, done.stderr


@pytest.fixture
def service():
    """A service that keeps comments, as GitHub's does."""
    comments, asked = [], []

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            asked.append((self.command, self.path, self.headers["Authorization"]))
            if self.command == "POST":
                comments.append({"id": len(comments), "user": {"login": "github-actions[bot]"}, **body})
            elif self.command == "PATCH":
                comments[int(self.path.rpartition("/")[2])].update(body)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(comments).encode())

        do_GET = do_POST = do_PATCH = answer

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", comments, asked
    server.shutdown()
    server.server_close()


def test_a_second_run_changes_the_comment_of_the_first(service, tmp_path):
    for program in ("curl", "jq", "bash"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not on the PATH; install it")
    url, comments, asked = service
    somebody = {"id": 0, "user": {"login": "somebody"}, "body": f"{MARK} copied"}
    comments.append(somebody)
    script = steps()["write the comment, or change the one of the last run"]
    given = {"GITHUB_API_URL": url, "GITHUB_REPOSITORY": "o/r", "NUMBER": "7", "TOKEN": "t", "PATH": "/usr/bin:/bin"}
    for text in (f'{MARK}\nfirst "$(id)" `x`', f"{MARK}\n" + "second\n" * 9000):
        done = run("bash", "-eo", "pipefail", "-c", script, env={**given, "MARKDOWN": text}, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert comments == [somebody, {**comments[1], "body": text}]
    assert [command for command, *_ in asked] == ["GET", "POST", "GET", "PATCH"]
    assert {token for *_, token in asked} == {"Bearer t"}
