"""The page's script, run by Streamlit without a browser."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from tiny_models import RED

import medpipe.app

PAGE = Path(medpipe.app.__file__).with_name("page.py")


@pytest.fixture
def page(registry, monkeypatch):
    monkeypatch.chdir(registry)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return AppTest.from_file(str(PAGE), default_timeout=60).run()


def said(page):
    assert not page.exception
    return "\n".join(
        str(element.value) for kind in ("title", "markdown", "caption", "error") for element in page.get(kind)
    )


def html(page):
    return "".join(element.proto.body for element in page.get("html"))


def test_two_versions_beside_each_other_and_in_spanish(page):
    page.selectbox(key="model").select("skin-classifier").run()
    assert page.selectbox(key="en:version-skin-classifier").options == ["1 skin-early (champion)", "2 skin-late"]
    page.file_uploader(key="files").upload("red.png", RED).upload("broken.png", RED[:90]).run()
    assert "Decision at the operating point: **melanoma (mel)**." in said(page)
    assert "No answer: image" in said(page)
    assert "# skin-early: model card" in said(page)
    one = html(page)
    page.number_input(key="person-age").set_value(100).run()
    page.selectbox(key="en:person-sex").select("female").run()
    assert html(page) != one
    page.selectbox(key="en:beside-models:/skin-classifier/1").select_index(0).run()
    assert "skin-classifier 2 skin-late" in said(page)
    assert html(page).count("melanoma (mel)") == 2
    page.button_group(key="language").set_value("es").run()
    assert page.selectbox(key="es:person-sex").value == "female"  # kept, in the other language
    assert page.selectbox(key="es:version-skin-classifier").options[0] == "1 skin-early (campeón)"
    assert "La respuesta de un modelo a una imagen" in said(page)
    assert html(page).count("nevo melanocítico (nv)") == 2


def test_a_drawing_has_a_heat_map_on_request(page):
    page.button_group(key="drawings-brain").select(0).run()
    assert [slider.label for slider in page.slider] == []
    page.button[0].click().run()
    assert "Opacity of the heat map (%)" in [slider.label for slider in page.slider]
    assert "Yellow: raises the probability of" in said(page)


def test_an_empty_registry_and_none(page, root, tmp_path, monkeypatch):
    import streamlit

    streamlit.cache_data.clear()
    assert "The registry has no model" in page.run().info[0].value
    (tmp_path / "none").mkdir()
    monkeypatch.chdir(tmp_path / "none")
    streamlit.cache_data.clear()
    assert "MLFLOW_TRACKING_URI is not set" in said(page.run())
