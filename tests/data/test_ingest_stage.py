import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from declared import ingest_archive
from dvc.repo import Repo

from medpipe import params
from medpipe.errors import InputError

ROOT = Path(__file__).parents[2]


def run(folder, archive):
    values = params.read(ROOT)
    values["tasks"]["chest"]["archive"] = str(archive)
    params.write(folder, values)
    command = [sys.executable, str(ROOT / "stages/ingest.py"), "chest"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ | {"LC_ALL": "C"})


def test_the_stage_writes_both_or_the_report_alone(tmp_path, folder, encode, noise):
    files = {f"Normal/images/Normal-{i}.png": encode(noise(i, "L", size=(64, 64))) for i in range(20)}
    manifest, report = tmp_path / "data/manifest/chest.parquet", tmp_path / "reports/chest/quarantine.csv"

    done = run(tmp_path, folder(files | {"Normal/images/Normal-3.png": b""}))
    assert done.returncode == 0, done.stderr
    summary = (tmp_path / "reports/chest/ingest.txt").read_text()
    assert summary.splitlines() == [
        "chest: 19 images, 1 in quarantine",
        "chest: 1 in quarantine for 'empty file', such as Normal/images/Normal-3.png: empty file",
    ]
    assert done.stdout.endswith(summary)
    assert len(pd.read_parquet(manifest)) == 19
    assert report.read_text() == "id,path,reason\nNormal-3,Normal/images/Normal-3.png,empty file\n"

    manifest.unlink()
    failed = run(tmp_path, folder(files | {"Normal/images/Normal-3.png": b"", "Normal/images/Normal-4.png": b"x"}))
    assert failed.returncode != 0
    assert "2 of 20 images quarantined, more than ingest.max_quarantined (5%)" in failed.stderr
    assert pd.read_csv(report)["id"].tolist() == ["Normal-3", "Normal-4"]
    assert list(manifest.parent.iterdir()) == []


def test_a_relative_archive_that_experiments_would_lack_is_refused(
    tmp_path, folder, settings, encode, noise, monkeypatch
):
    files = {f"Normal/images/Normal-{i}.png": encode(noise(i, "L")) for i in range(2)}
    repository = tmp_path / "repository"
    for name in ("ignored/archive", "added/archive", "made/archive", "tracked/archive"):
        folder(files, f"repository/{name}")
    folder(files, "outside")
    subprocess.run(["git", "init", "--quiet", str(repository)], check=True)
    subprocess.run(["git", "-C", str(repository), "add", "tracked"], check=True)
    (repository / ".dvc").mkdir()
    (repository / "added.dvc").write_text("outs:\n- path: added\n")
    (repository / "dvc.yaml").write_text("stages:\n  make:\n    cmd: make\n    outs: [made/archive]\n")
    (repository / ".gitignore").write_text("/ignored\n/added\n/made\n")
    monkeypatch.chdir(repository)
    for name in ("added/archive", "made/archive", "tracked/archive", str(repository / "ignored/archive")):
        assert len(ingest_archive(name, "chest", settings)[0]) == 2
    for name in ("ignored/archive", "../outside"):
        with pytest.raises(
            InputError, match=rf"^tasks\.chest\.archive: '{name}' is relative, and neither .* Write '/.*/"
        ):
            ingest_archive(name, "chest", settings)


def test_it_waits_while_another_stages_dvc_writes_its_lock_file(tmp_path, folder, settings, encode, noise, monkeypatch):
    folder({f"Normal/images/Normal-{i}.png": encode(noise(i, "L")) for i in range(2)}, "repository/made/archive")
    repository = tmp_path / "repository"
    subprocess.run(["git", "init", "--quiet", str(repository)], check=True)
    (repository / ".dvc").mkdir()
    (repository / "dvc.yaml").write_text("stages:\n  make:\n    cmd: make\n    outs: [made/archive]\n")
    monkeypatch.chdir(repository)
    with ThreadPoolExecutor(1) as pool:
        with Repo() as other, other.lock:
            (repository / "dvc.lock").write_text("stages: {}\n")  # half of it: the schema is not there yet
            ingested = pool.submit(ingest_archive, "made/archive", "chest", settings)
            with pytest.raises(TimeoutError):
                ingested.result(timeout=2)
            (repository / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
        assert len(ingested.result()[0]) == 2
