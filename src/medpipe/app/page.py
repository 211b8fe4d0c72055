"""The app's page, which Streamlit runs anew at each click: a model, what is known of the person, images; then answers.

Uploads are held by Streamlit in memory. `python -m medpipe.app` opens it.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

import streamlit as st

from medpipe.app import models
from medpipe.app.drawings import drawings
from medpipe.app.memory import Memory, carry
from medpipe.app.models import Choice
from medpipe.app.panel import Case, panel
from medpipe.app.texts import LANGUAGES, Speaker
from medpipe.app.vocabulary import full
from medpipe.errors import InputError
from medpipe.params import Category, Feature
from medpipe.service.rows import IMAGE
from medpipe.service.served import Served

SECONDS = 10  # for which what the registry has is believed
LOADED = 4  # models that are held, of all users

listed = st.cache_data(ttl=SECONDS, show_spinner=False)(models.choices)
loaded = st.cache_resource(max_entries=LOADED, show_spinner=False)(models.load)


def main() -> None:
    st.set_page_config("medpipe", layout="wide")
    memory = st.session_state.setdefault("memory", Memory())
    say = _language()
    try:
        if not (found := listed()):
            st.info(say("empty"))
            return
        chosen = _choose(say, found)
        with st.spinner(say("loading")):
            served = [loaded(choice.uri) for choice in chosen]
    except InputError as error:
        st.error(str(error))
        return
    person = _person(say, models.features(served))
    cases = _cases(say, chosen[0].task, served)
    for case in cases:
        with st.container(border=True):
            st.html(f'<h3 style="margin:0;overflow-wrap:anywhere">{escape(case.name)}</h3>')
            places = st.columns(len(served))
            for place, choice, model in zip(places, chosen, served, strict=True):
                with place:
                    if len(served) > 1:
                        st.markdown(f"**{choice.registered} {_named(choice, say)}**")
                    panel(say, memory, model, case, person, wide=len(served) == 1)
    if not cases:
        st.info(say("start"))
    for choice in chosen:
        with st.expander(f"{say('card')}: {choice.registered} {_named(choice, say)}"):
            st.markdown(choice.card or say("no_card"))
    memory.sweep()


def _language() -> Speaker:
    """The title, with the choice of the language beside it: at first the browser's."""
    left, right = st.columns([4, 1], vertical_alignment="bottom")
    spoken = str(st.context.locale or "")[:2]
    language = right.segmented_control(
        "Language · Idioma",
        list(LANGUAGES),
        default=spoken if spoken in LANGUAGES else "en",
        format_func=LANGUAGES.__getitem__,
        required=True,
        key="language",
        on_change=lambda: carry(st.session_state, st.session_state.language),
        label_visibility="collapsed",
    )
    say = Speaker(language or "en")
    left.title(say("title"), anchor=False)
    st.warning(say("notice"))
    return say


def _choose(say: Speaker, found: list[Choice]) -> list[Choice]:
    """The version to be asked, and the one beside it, if any."""
    first, second, third = st.columns(3)
    name = first.selectbox(say("model"), list(dict.fromkeys(choice.registered for choice in found)), key="model")
    versions = [choice for choice in found if choice.registered == name]
    choice = second.selectbox(
        say("version"), versions, format_func=lambda choice: _named(choice, say), key=say.key(f"version-{name}")
    )
    rivals = models.rivals(choice, found)
    beside = third.selectbox(
        say("beside"),
        rivals,
        index=None,
        format_func=lambda other: f"{other.registered} {_named(other, say)}",
        placeholder=say("nobody"),
        key=say.key(f"beside-{choice.uri}"),
        disabled=not rivals,
    )
    return [choice] if beside is None else [choice, beside]


def _named(choice: Choice, say: Speaker) -> str:
    champion = f"({say('champion')})" if choice.champion else ""
    return " ".join(filter(None, (choice.number, choice.network, champion)))


def _person(say: Speaker, features: dict[str, Feature]) -> dict[str, Any]:
    """What the form says of the person, None for unknown."""
    if not features:
        return {}
    st.markdown(f"**{say('person')}**")
    said = {}
    for place, (name, feature) in zip(st.columns(len(features)), features.items(), strict=True):
        with place:
            said[name] = _value(say, name, feature)
    return said


def _value(say: Speaker, name: str, feature: Feature) -> Any:
    """A field of the form."""
    label, unknown = full(name, say.language), say("unknown")
    if isinstance(feature, Category):
        values = list(feature.values)
        return st.selectbox(
            label,
            values,
            index=None,
            format_func=lambda value: full(value, say.language),
            placeholder=unknown,
            key=say.key(f"person-{name}"),
        )
    low, high = feature.range
    return st.number_input(
        f"{label} ({low:g}–{high:g})",
        float(low),
        float(high),
        None,
        format="%g",
        placeholder=unknown,
        key=f"person-{name}",
    )


def _cases(say: Speaker, task: str, served: Sequence[Served]) -> list[Case]:
    """The uploads, and the drawings that are chosen; of models that read no image, one case without."""
    if not any(IMAGE in model.inputs for model in served):
        return [Case("case", say("case"), None)]
    files = st.file_uploader(say("images"), accept_multiple_files=True, key="files")
    st.caption(say("private"))
    drawn = drawings(task)
    chosen = st.pills(
        say("drawings"),
        range(len(drawn)),
        selection_mode="multi",
        format_func=lambda place: say("drawing", number=place + 1),
        key=f"drawings-{task}",
    )
    uploads = [Case(file.file_id, file.name, file.getvalue()) for file in files]
    return uploads + [
        Case(f"{task}-{place}", say("drawing", number=place + 1), drawn[place]) for place in sorted(chosen)
    ]


main()
