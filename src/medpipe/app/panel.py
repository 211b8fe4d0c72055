"""One model's answer to one case, on the page."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from medpipe.app import heat, look
from medpipe.app.answers import Answer, answer
from medpipe.app.look import LEVELS, Pixels
from medpipe.app.memory import Memory
from medpipe.app.texts import Speaker
from medpipe.app.vocabulary import both
from medpipe.models.decision import REFER
from medpipe.service.rows import IMAGE
from medpipe.service.served import Served
from medpipe.service.settings import Settings
from medpipe.serving.cases import read_image

OPACITY = 50  # percent, at first


@dataclass(frozen=True)
class Case:
    """An image's file, None for a case without one. `key` tells two files of one name apart."""

    key: str
    name: str
    data: bytes | None


@dataclass(frozen=True)
class View:
    """What a panel shows: a model's answer to a case, and where its image stands."""

    say: Speaker
    memory: Memory
    model: Served
    case: Case
    person: Mapping[str, Any]
    said: Answer
    known: tuple[Hashable, ...]  # what the answer is to, for the memory
    key: str  # of the widgets
    place: DeltaGenerator


@st.fragment
def panel(say: Speaker, memory: Memory, model: Served, case: Case, person: Mapping[str, Any], *, wide: bool) -> None:
    """The image with what is laid over it, and the answer: side by side where there is room (`wide`), else below.

    A fragment: of what is clicked here, nothing else is run again.
    """
    known = (case.key, model.version.uri, tuple(person.items()))
    said: Answer = memory.get(("answer", *known), lambda: answer(model, case.data, person))
    if said.error is not None:
        st.error(say("refused", error=said.error))
        return
    if IMAGE not in model.inputs:
        _words(say, said)
        return
    left, right = st.columns(2) if wide else (st.container(), st.container())
    key = f"{case.key}-{model.version.uri}"
    view = View(say, memory, model, case, person, said, known, key, left.empty())
    with right:
        _words(say, said)
    with left if wide else st.container():
        _show(view, _laid_over(view))


def _words(say: Speaker, said: Answer) -> None:
    def named(name: str) -> str:
        return both(name, say.language)

    if said.strange:
        st.warning(say("strange", score=f"{said.ood:.3f}"))
    if said.chances:
        st.markdown(f"**{say('likely')}**")
        st.html(look.bars(said.chances, say))
        st.caption(say("levels", **{name: say.percent(least) for name, least in LEVELS.items()}))
    if said.decision is not None:
        st.markdown(say("refer") if said.decision == REFER else say("decided", name=named(said.decision)))
    if said.possible is not None:
        names = ", ".join(map(named, said.possible))
        st.markdown(say("possible", names=names) if names else say("impossible"))
    if said.mask is not None:
        for name, share in said.shares.items():
            st.markdown(say("outlined", name=named(name), share=say.percent(share)))
        if not said.shares:
            st.markdown(say("nothing"))


def _show(view: View, pixels: Pixels) -> None:
    view.place.image(look.uri(pixels), width="stretch", alt=view.say("picture", name=view.case.name))


def _laid_over(view: View) -> Pixels:
    """The image under what the controls, which are drawn here, lay over it."""
    pixels: Pixels = view.memory.get(("pixels", *view.known[:2]), lambda: _decoded(view.model, view.case))
    over = _heated(view, pixels) if heat.explains(view.model) else pixels
    if view.said.mask is not None and view.said.shares:
        opacity = st.slider(view.say("outline"), 0, 100, OPACITY, key=f"outline-{view.key}")
        over = look.outlined(over, view.said.mask, opacity / 100)
    return over


def _heated(view: View, pixels: Pixels) -> Pixels:
    """The image under its heat map, once that was asked for."""
    say = view.say
    left, right = st.columns([2, 1], vertical_alignment="bottom")
    name = left.selectbox(
        say("explained"),
        list(view.said.chances),
        format_func=lambda name: both(name, say.language),
        key=say.key(f"class-{view.key}"),
    )
    mapped = ("heat", *view.known, name)
    asked = right.button(say("explain"), key=f"heat-{view.key}", width="stretch")
    if mapped not in view.memory:
        if not asked:
            return pixels
        _show(view, pixels)  # meanwhile
    with st.spinner(say("explaining")):
        found = view.memory.get(mapped, lambda: heat.explained(view.model, pixels, view.person, name))
    opacity = st.slider(say("heat"), 0, 100, OPACITY, key=f"opacity-{view.key}")
    st.caption(say("legend", name=both(name, say.language), masks=heat.MASKS))
    return look.heated(pixels, found, opacity / 100)


def _decoded(model: Served, case: Case) -> Pixels:
    """The case's image, which the model has read, as it is shown."""
    assert model.decoding is not None
    return look.shown(read_image(case.data, IMAGE, Settings.max_pixels, model.decoding, None))
