"""What those who load a package get from it: another service, mlflow, its HTTP server, `load`."""

import base64
import json
import os
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_packages import CLASSES, HEALTH, IMAGES, SERVED, SLICES, evaluated, images

from medpipe import fingerprint
from medpipe.models.decision import decide, name_sets
from medpipe.models.temperature import temper
from medpipe.serving.predictor import load

# What another service does, in one process without this package but for what travels with the models.
SERVICE = """
import base64, sys
from pathlib import Path
import numpy as np
import pandas as pd
sys.path = [path for path in sys.path if Path(path) != Path(sys.argv[1])]
sys.modules |= dict.fromkeys(("keras", "tensorflow", "medpipe"))  # to import them raises
import mlflow
cases = pd.read_pickle(sys.argv[3])
root = {"image_root": str(Path(sys.argv[3]).parent)}
models = {path.name: mlflow.pyfunc.load_model(str(path), model_config=root) for path in Path(sys.argv[2]).iterdir()}
for name, model in models.items():
    paths = cases.assign(image=[Path(path).name if i % 2 else path for i, path in enumerate(cases["image"])])
    model.predict(paths).to_pickle(sys.argv[4] + f"/{name}-paths")
    read = cases.assign(image=[Path(path).read_bytes() for path in cases["image"]])
    model.predict(read).to_pickle(sys.argv[4] + f"/{name}-bytes")
    read["image"] = ["data:image/jpeg;base64," + base64.b64encode(data).decode() for data in read["image"]]
    model.predict(read).to_pickle(sys.argv[4] + f"/{name}-uris")
"""


def features(cases):
    sex, place = cases["sex"].fillna("unknown"), cases["localization"].fillna("unknown")
    columns = [cases["age"], *(sex == value for value in ("male", "female", "unknown"))]
    columns += [place == value for value in ("back", "lower extremity", "unknown")]
    return np.stack([column.to_numpy(np.float32) for column in columns], axis=1)


@pytest.fixture(scope="module")
def served(packages, cases, tmp_path_factory):
    """What a service in another folder gets from each package, as {model: {paths, bytes, uris: its answer}}."""
    folder = tmp_path_factory.mktemp("service")
    table = Path(cases["image"][0]).parent / "cases"  # beside the images
    cases.to_pickle(table)
    (folder / "answers").mkdir()
    arguments = [fingerprint.SOURCE, packages, table, folder / "answers"]
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MLFLOW_TRACKING_URI", "DVC_ROOT")}
    command = [sys.executable, "-c", SERVICE, *map(str, arguments)]
    subprocess.run(command, check=True, cwd=folder, env=environment)
    answers: dict[str, dict[str, pd.DataFrame]] = {}
    for path in (folder / "answers").iterdir():
        name, way = path.name.rsplit("-", 1)
        answers.setdefault(name, {})[way] = pd.read_pickle(path)
    return answers


@pytest.fixture(scope="module")
def early(packages):
    """The packaged fusion, loaded as a service does: no paths."""
    import mlflow

    return mlflow.pyfunc.load_model(str(packages / "skin-early"))


@pytest.fixture
def two(cases):
    """A case of known metadata, and one of unknown."""
    images = [Path(path).read_bytes() for path in cases["image"][:2]]
    return pd.DataFrame({"image": images, "age": [45, None], "sex": ["male", None], "localization": ["back", None]})


def test_a_packaged_classifier_gives_its_models_probabilities(models, rule, served, cases):
    said = evaluated(models["skin-image"][0], images(cases, IMAGES["sizes"]))["output"]
    expected = temper(said, SERVED["temperature"])
    answer = served["skin-image"]["paths"]
    assert list(answer) == [*CLASSES, "label", "decision", "set", "error"]
    np.testing.assert_allclose(answer[list(CLASSES)], expected, atol=1e-5)
    assert answer["label"].tolist() == [CLASSES[i] for i in said.argmax(axis=1)]
    given = answer[list(CLASSES)].to_numpy()
    assert answer["decision"].tolist() == decide(given, CLASSES, rule)
    assert answer["set"].tolist() == name_sets(given, CLASSES, rule)
    assert {"mel", "refer"} < {*answer["decision"]}
    assert answer["set"].nunique() > 2
    assert np.ptp(said, axis=0).max() > 0.01  # the images differ, so a mix-up would show


def test_a_packaged_fusion_reads_raw_metadata_and_images(models, served, cases):
    inputs = features(cases), images(cases, IMAGES["sizes"])
    expected = temper(evaluated(models["skin-early"][0], *inputs)["output"], SERVED["temperature"])
    np.testing.assert_allclose(served["skin-early"]["paths"][list(CLASSES)], expected, atol=1e-5)


def test_a_packaged_classifier_of_two_classes_gives_both(models, served, cases):
    p = evaluated(models["brain-classifier"][0], images(cases, SLICES["sizes"]))["output"]
    answer = served["brain-classifier"]["paths"]
    np.testing.assert_allclose(answer[list(HEALTH)], temper(p, SERVED["temperature"]), atol=1e-5)


def test_a_packaged_segmenter_gives_masks_of_the_images_size(models, served, cases):
    masks = evaluated(models["brain-resunet"][0], images(cases, SLICES["sizes"]))["output"][..., 0] >= 0.5
    answer = served["brain-resunet"]["paths"]
    assert list(answer) == ["tumour", "share", "mask", "error"]
    assert answer["tumour"].tolist() == masks.any(axis=(1, 2)).tolist()
    np.testing.assert_allclose(answer["share"], masks.mean(axis=(1, 2)))
    for mask, png in zip(masks, answer["mask"], strict=True):
        image = Image.open(BytesIO(png))
        whole = Image.fromarray(mask.astype(np.uint8) * 255).resize((70, 50), Image.Resampling.NEAREST)
        np.testing.assert_array_equal(np.asarray(image), np.asarray(whole))


def test_a_packaged_cascade_empties_masks_below_its_threshold(models, served, cases):
    outputs = evaluated(models["brain-cascade"][0], images(cases, SLICES["sizes"]))
    answer = served["brain-cascade"]["paths"]
    p = outputs["p"][:, 0]
    np.testing.assert_allclose(answer["p_tumour"], temper(outputs["p"], SERVED["temperature"])[:, 1], atol=1e-5)
    above = p >= models["brain-cascade"][1]["threshold"]
    assert above.sum() == 20
    found = (outputs["mask"] >= 0.5).any(axis=(1, 2, 3))
    assert found[~above].any()
    assert answer["tumour"].tolist() == (found & above).tolist()
    assert not answer["share"][~above].any()


@pytest.mark.parametrize("name", ["skin-image", "skin-early", "brain-classifier", "brain-resunet", "brain-cascade"])
def test_paths_bytes_and_data_uris_give_the_same(served, name):
    for way in ("bytes", "uris"):
        pd.testing.assert_frame_equal(served[name]["paths"], served[name][way])


def test_a_package_is_loaded_without_mlflow(packages, cases):
    read = cases.assign(image=[Path(path).read_bytes() for path in cases["image"]])
    answer = load(packages / "skin-image").predict(read)
    assert answer["label"].isin(CLASSES).all()
    assert load(packages / "skin-image", str(Path(cases["image"][0]).parent)).predict(cases).equals(answer)


def test_two_versions_in_one_process_each_run_their_own_code(served):
    one, other = served["skin-image"]["bytes"], served["skin-other"]["bytes"]
    pd.testing.assert_frame_equal(one[[*CLASSES]], other[[*CLASSES]])
    assert other["label"].tolist() == ["other " + label for label in one["label"]]


@pytest.mark.parametrize("word", [None, np.nan, pd.NA, "", " ", "NA", "unknown", "Unknown"])
@pytest.mark.parametrize("dtype", [object, "category", "string[pyarrow]"])
def test_whatever_stands_for_unknown_gives_the_same(early, two, word, dtype):
    expected = early.predict(two)
    for name in ("age", "sex", "localization"):
        two[name] = pd.Series([two[name][0] if name != "age" else "45", word], dtype=dtype)
    pd.testing.assert_frame_equal(early.predict(two), expected)


def test_a_table_of_empty_fields_is_read_as_one_of_unknown(early, two, tmp_path):
    two.drop(columns="image")[1:].to_csv(tmp_path / "cases.csv", index=False)
    table = pd.read_csv(tmp_path / "cases.csv").assign(image=[two["image"][1]])
    assert table.dtypes[["age", "sex"]].tolist() == [np.float64, np.float64]
    pd.testing.assert_frame_equal(early.predict(table), early.predict(two)[1:].reset_index(drop=True), atol=1e-6)


def test_over_http_a_wrong_row_has_an_error_and_the_others_their_answers(early, two):
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc.scoring_server import invocations

    uris = ["data:image/jpeg;base64," + base64.b64encode(data).decode() for data in two["image"]]
    records = two.assign(image=uris).astype(object).where(two.notna(), None).to_dict("records")

    def send(records):
        body = json.dumps({"dataframe_records": records})
        return invocations(body, "application/json", early, early.metadata.get_input_schema())

    answers = pd.DataFrame(json.loads(send(records).response)["predictions"])
    pd.testing.assert_frame_equal(answers, early.predict(two), check_dtype=False, atol=1e-6)
    for change, message in [
        ({"age": "old"}, "age is 'old', must be a number from 0 to 120, or unknown"),
        ({"sex": 3}, "sex is '3', must be unknown or one of: male, female"),
        ({"image": "/dev/zero"}, "image: '/dev/zero' is no data URI, and paths are read only"),
        ({"image": uris[1][:-100]}, "image: damaged"),
    ]:
        sound, wrong = json.loads(send([records[0], records[1] | change]).response)["predictions"]
        assert sound == pytest.approx(answers.iloc[0].to_dict(), abs=1e-6)
        assert wrong.pop("error").startswith(message)
        assert {*wrong.values()} == {None}
    with pytest.raises(MlflowException, match=r"missing inputs \['sex'\]") as raised:
        send([{key: value for key, value in records[0].items() if key != "sex"}])
    assert raised.value.get_http_status_code() == 400
