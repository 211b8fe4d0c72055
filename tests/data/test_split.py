import json

import numpy as np
import pandas as pd
import pytest
from declared import TASKS
from manifests import brain, flipped, hashes, hexadecimal, random_skin, skin, turned

from medpipe.data import split as splitting
from medpipe.data.clean import clean
from medpipe.data.split import split
from medpipe.errors import InputError
from medpipe.params import Clean, Split

SETS = ("train", "val", "test")
THREE_WAYS = (0.70, 0.15, 0.15)
SHARES = (THREE_WAYS, (0.72, 0.08, 0.20), (0.60, 0.20, 0.20), (0.34, 0.33, 0.33), (0.80, 0.20, 0.0))


def settings(shares=THREE_WAYS, by="group", near=24, seed=1):
    return Split(seed=seed, by=by, near=near, **dict(zip(SETS, shares, strict=True)))


def run(manifest, by="group", shares=THREE_WAYS, seed=42, unknown="impute", near=24):
    table = clean(manifest, TASKS["skin"], Clean(unknown=unknown))
    rows, stats, report = split(table, TASKS["skin"], settings(shares, by, near, seed))
    return rows, stats, json.loads(json.dumps(report))  # as the stage writes it


def lesions(count, label="nv", photographs=1):
    return [(label, f"{label}_{i}") for i in range(count) for _ in range(photographs)]


def manifest_of(*rows):
    return skin(*zip(*rows, strict=True))


# ---------------------------------------------------------------------------------------- groups and classes
@pytest.mark.parametrize("shares", SHARES)
@pytest.mark.parametrize("seed", range(5))
def test_shares_hold_to_within_one_group_a_class_and_in_total(seed, shares):
    manifest = random_skin(seed)
    rows, _, report = run(manifest, shares=shares, seed=seed)
    assert rows.groupby("group")["set"].nunique().max() == 1
    counts = pd.DataFrame(report["groups"]).T[list(SETS)]  # (class, set)
    exact = np.outer(counts.sum(axis=1), shares)
    assert (np.abs(counts - exact).to_numpy() < 1).all()
    assert (np.abs(counts.sum() - exact.sum(axis=0)) < 2).all()
    assert (counts.sum() > 0).tolist() == [share > 0 for share in shares]
    assert counts.sum(axis=1).to_dict() == manifest.groupby("label")["group"].nunique().to_dict()


@pytest.mark.parametrize("shares", SHARES)
def test_whole_numbers_come_out_whole(shares):
    rows, _, report = run(manifest_of(*lesions(100), *lesions(200, "mel")), shares=shares)
    for label, count in (("nv", 100), ("mel", 200)):
        assert [report["groups"][label][name] for name in SETS] == [round(count * share) for share in shares]
    assert len(rows) == 300


def test_three_groups_are_enough_to_reach_every_set_and_two_are_not():
    _, _, report = run(manifest_of(*lesions(60), *lesions(3, "df", photographs=5)))
    assert report["groups"]["df"] == {"train": 1, "val": 1, "test": 1, "external": 0}
    with pytest.raises(InputError, match=r"class df is absent from test: it has 2 groups"):
        run(manifest_of(*lesions(60), *lesions(2, "df", photographs=5)))


def test_rounding_is_carried_over_so_that_small_classes_do_not_empty_a_set():
    """Each class alone rounds 0.4 groups of val down; ten of them owe val four."""
    counts, owed = np.zeros(3), np.zeros(3)
    for _ in range(10):
        seats = splitting._seats(4, np.array([0.80, 0.10, 0.10]), owed)
        owed += 4 * np.array([0.80, 0.10, 0.10]) - seats
        counts += seats
    assert counts.sum() == 40
    assert (counts[1:] >= 4).all()


def test_the_order_of_rows_changes_nothing():
    table = clean(random_skin(7), TASKS["skin"], Clean(unknown="impute"))
    rows, stats, report = split(table, TASKS["skin"], settings())
    shuffled = table.sample(frac=1, random_state=3)
    again, stats_again, report_again = split(shuffled, TASKS["skin"], settings())
    assert again["id"].tolist() == shuffled["id"].tolist()
    pd.testing.assert_frame_equal(again.sort_values("id", ignore_index=True), rows)
    assert report_again == report
    assert all(stats_again[key] == pytest.approx(stats[key]) for key in ("fill", "mean", "std"))
    assert not split(table, TASKS["skin"], settings(seed=2))[0]["set"].equals(rows["set"])


def test_rows_keep_the_tables_order_and_carry_the_subgroups():
    manifest = random_skin(2)
    rows, _, _ = run(manifest)
    expected = ["id", "label", "group", "set", "source", "dx_type", "sex", "age_band", "localization"]
    assert rows.columns.tolist() == expected
    assert rows["id"].tolist() == manifest["id"].tolist()


def test_patients_stay_whole_and_count_for_tumour():
    table = clean(brain(20, 9), TASKS["brain"], Clean(unknown=None))
    rows, stats, report = split(table, TASKS["brain"], settings((0.60, 0.20, 0.20), near=4))
    assert report["groups"]["tumour"] == {"train": 12, "val": 4, "test": 4, "external": 0}
    assert report["rows"]["healthy"] == {"train": 72, "val": 24, "test": 24, "external": 0}
    assert rows.groupby("group")["set"].nunique().eq(1).all()
    assert stats == {"columns": [], "fill": [], "mean": [], "std": []}


def test_two_sources_of_one_host_stay_two():
    sources = ["kaggle.com/owner/one", "kaggle.com/owner/two"] * 40
    labels = ["Normal"] * 40 + ["COVID"] * 40
    manifest = skin(labels, [f"image-{i}" for i in range(80)], source=sources)
    rows, _, _ = split(
        clean(manifest, TASKS["chest"], Clean(unknown=None)), TASKS["chest"], settings((0.60, 0.20, 0.20))
    )
    assert rows["source"].tolist() == sources
    assert rows.groupby("set")["source"].nunique().tolist() == [2, 2, 2]


# ---------------------------------------------------------------------------------------- duplicates
@pytest.fixture
def twins():
    """Lesions 0 and 1 share a file, 1 and 2 a near duplicate; so do 3 and the melanoma; 4 and 5 differ in 30 bits.
    Lesions 6 and 7 share an image, mirrored, and 8 and 9 one, turned.
    """
    table = manifest_of(*lesions(40, photographs=2), *lesions(20, "mel"))
    bits = hashes(len(table))
    bits[2] = bits[0]
    bits[4] = flipped(bits[3], 20)
    bits[80] = flipped(bits[6], 24)
    bits[10] = flipped(bits[8], 30)
    table["phash"] = hexadecimal(bits)
    table.loc[14, "phash"] = turned(table.loc[12, "phash"], 1)
    table.loc[16, "phash"] = turned(table.loc[19, "phash"], 4)
    table.loc[2, "sha256"] = table.loc[0, "sha256"]
    return table


@pytest.mark.parametrize("seed", range(8))
def test_lesions_that_share_duplicates_are_one_group(twins, seed):
    rows, _, report = run(twins, seed=seed)
    assert rows["group"][:6].tolist() == ["nv_0"] * 6
    assert rows["group"][[6, 7, 80]].tolist() == ["mel_0"] * 3
    assert rows["group"][[8, 10]].tolist() == ["nv_4", "nv_5"]
    assert rows["group"][12:20].tolist() == ["nv_6"] * 4 + ["nv_8"] * 4
    assert rows.groupby("group")["set"].nunique().eq(1).all()
    assert report["leak"] == {"val": 0, "test": 0, "external": 0}
    assert report["merged"] == [
        {"id": ["ISIC_0000000", "ISIC_0000002"], "group": ["nv_0", "nv_1"], "label": ["nv", "nv"]}
        | {"bits": 0, "orientation": "as it is", "same_file": True},
        {"id": ["ISIC_0000012", "ISIC_0000014"], "group": ["nv_6", "nv_7"], "label": ["nv", "nv"]}
        | {"bits": 0, "orientation": "mirrored", "same_file": False},
        {"id": ["ISIC_0000016", "ISIC_0000019"], "group": ["nv_8", "nv_9"], "label": ["nv", "nv"]}
        | {"bits": 0, "orientation": "turned", "same_file": False},
        {"id": ["ISIC_0000003", "ISIC_0000004"], "group": ["nv_1", "nv_2"], "label": ["nv", "nv"]}
        | {"bits": 20, "orientation": "as it is", "same_file": False},
        {"id": ["ISIC_0000006", "ISIC_0000080"], "group": ["nv_3", "mel_0"], "label": ["nv", "mel"]}
        | {"bits": 24, "orientation": "as it is", "same_file": False},
    ]


def test_external_images_that_the_archive_holds_too_are_excluded(twins):
    """Row 81 shows what row 12 shows; 82 shows what 81 shows; 83 has a lesion's name; 84 and 85 are each other's."""
    bits = hashes(len(twins), seed=1)
    bits[81], bits[82], bits[85] = flipped(bits[12], 20), flipped(flipped(bits[12], 20), 20), bits[84]
    twins["phash"] = hexadecimal(bits)
    twins.loc[81:85, "source"] = "isic2018"
    twins.loc[83, "group"] = "nv_7"
    for by in ("group", "image"):
        rows, _, report = run(twins, by=by)
        assert rows["set"][81:86].tolist() == ["excluded"] * 3 + ["external"] * 2
        assert report["excluded"] == ["ISIC_0000081", "ISIC_0000082", "ISIC_0000083"]
        assert report["rows"]["mel"]["external"] == 2
        assert report["leak"]["external"] == 0
        assert rows["group"][84] == rows["group"][85]
        assert set(rows["set"][:81]) == set(SETS)


@pytest.mark.parametrize(
    ("groups", "pairs", "message"),
    [
        (["a", "b", "b"], [], "group before merging b is in 2 sets"),
        (["a", "b", "c"], [(1, 2, 8)], "i1 and i2 show the same and are in two sets"),
    ],
)
def test_an_overlap_stops_the_run(groups, pairs, message):
    rows = pd.DataFrame({"id": ["i0", "i1", "i2"], "group": list("xyz"), "set": ["train", "train", "test"]})
    pairs = pd.DataFrame(pairs, columns=["left", "right", "distance"])
    with pytest.raises(InputError, match=message):
        splitting.check_apart(rows, pd.Series(groups), pairs)
    splitting.check_apart(rows.assign(set=["train", "train", "excluded"]), pd.Series(groups), pairs)
    with pytest.raises(InputError, match="group x is in 2 sets"):
        splitting.check_apart(rows.assign(group="x"), pd.Series(["a", "b", "c"]), pairs)


def test_by_image_each_photograph_goes_its_own_way_and_the_leak_is_counted():
    manifest = manifest_of(*lesions(200, photographs=2))
    rows, _, report = run(manifest, by="image")
    assert report["by"] == "image"
    assert rows["set"].value_counts().to_dict() == {"train": 280, "val": 60, "test": 60}
    partner = rows["set"].to_numpy().reshape(200, 2)[:, ::-1].ravel()
    for name in ("val", "test"):
        assert report["leak"][name] == ((rows["set"] == name) & (partner == "train")).sum()
        assert 25 < report["leak"][name] < 55  # 42 of 60 expected
    assert rows["group"].tolist() == manifest["group"].tolist()  # what the intervals resample


@pytest.mark.parametrize(
    ("photographs", "grouped", "said"),
    [
        (1, 0, "grouped by image: the same patient may be on both sides"),
        (3, 0, "grouped by file: the same patient may be on both sides"),
        (3, 20, "10 of 30 images are grouped by file: the same patient may be on both sides"),
        (3, 30, ""),
    ],
)
def test_images_without_a_patient_are_said_to_stay_with_those_of_their_file(photographs, grouped, said):
    """The slices of a volume are of one group, which is the file."""
    table = manifest_of(*lesions(30 // photographs, photographs=photographs))
    _, _, report = run(table.assign(grouped=table.index < grouped))
    assert report["grouping"] == said
    assert set(report["leak"].values()) == ({None} if said else {0})


def test_turned_copies_on_two_sides_of_the_archives_own_sets_are_counted():
    manifest = manifest_of(*lesions(60), *lesions(60, "mel")).assign(set=["train", "val", "test"] * 40)
    for train, test, orientation in ((0, 2, 3), (3, 119, 7), (6, 12, 1)):  # the last pair trains
        manifest.loc[test, "phash"] = turned(manifest.loc[train, "phash"], orientation)
    rows, _, report = run(manifest, by="given")
    assert report["leak"] == {"val": 0, "test": 2, "external": 0}
    assert rows["group"][[2, 119]].tolist() == ["nv_0", "mel_59"]


# ---------------------------------------------------------------------------------------- what is fitted
def test_stats_are_those_of_the_training_rows():
    manifest = random_skin(4)
    rows, stats, _ = run(manifest)
    train = manifest[rows["set"] == "train"]
    ages = train["age"].fillna(train["age"].median())
    assert stats["columns"][:3] == ["age", "sex_male", "sex_female"]
    assert (stats["fill"][0], stats["mean"][0]) == (train["age"].median(), pytest.approx(ages.mean()))
    assert stats["std"][0] == pytest.approx(ages.std(ddof=0))
    assert set(stats["mean"][1:]) == {0.0}
    assert set(stats["std"][1:]) == {1.0}
    most = {f"sex_{train['sex'][train['sex'] != 'unknown'].mode()[0]}"}
    most |= {f"localization_{train['localization'].mode()[0]}"}
    assert {c for c, fill in zip(stats["columns"][1:], stats["fill"][1:], strict=True) if fill} == most


def test_other_rows_change_nothing_in_stats():
    manifest = random_skin(4)
    rows, stats, _ = run(manifest)
    others = rows["set"] != "train"
    changed = manifest.assign(
        age=manifest["age"].mask(others, 85.0),
        sex=manifest["sex"].mask(others, "male"),
        localization=manifest["localization"].mask(others, "ear"),
    )
    assert run(changed)[1] == stats
    assert run(manifest.assign(age=manifest["age"].mask(~others, 85.0)))[1] != stats


def test_a_column_for_unknown_is_what_unknown_is_filled_with():
    _, stats, _ = run(random_skin(4), unknown="category")
    filled = {c for c, fill in zip(stats["columns"][1:], stats["fill"][1:], strict=True) if fill}
    assert filled == {"sex_unknown", "localization_unknown"}


def test_a_variable_unknown_in_every_training_row_is_named():
    manifest = random_skin(4)
    with pytest.raises(InputError, match="^age: unknown in all"):
        run(manifest.assign(age=np.nan))
    with pytest.raises(InputError, match="^sex: unknown in all"):
        run(manifest.assign(sex="unknown"))
    assert run(manifest.assign(sex="unknown"), unknown="category")


# ---------------------------------------------------------------------------------------- the real archive
def test_ham10000(real):
    """Its metadata; the images' hashes are made up, so that only lesions tie."""
    path = real / "ham10000/HAM10000_metadata.csv"
    raw = pd.read_csv(path).rename(columns={"image_id": "id", "dx": "label", "lesion_id": "group"})
    manifest = skin(raw["label"], raw["group"], **{name: raw[name] for name in ("id", "age", "sex", "localization")})
    assert len(clean(manifest, TASKS["skin"], Clean(unknown="drop"))) == 9_771
    rows, stats, report = run(manifest, unknown="category")
    assert len(rows) == 10_015
    assert rows["group"].nunique() == 7_470
    groups = pd.DataFrame(report["groups"]).T[list(SETS)]
    assert np.abs(groups.sum() - 7_470 * np.array(THREE_WAYS)).max() < 1
    assert groups.loc["df"].tolist() == [51, 11, 11]
    assert report["leak"] == {"val": 0, "test": 0, "external": 0}
    assert stats["fill"][0] == 50
    _, _, leaky = run(manifest, by="image")
    assert 500 < leaky["leak"]["test"] < 600  # of 1,502: more than a third
