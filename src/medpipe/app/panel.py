"""One model's answer to one case, on the page."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

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
    place = left.empty()
    with right:
        _words(say, said)
    with left if wide else st.container():
        over = _laid_over(say, memory, model, case, person, said, known)
    place.image(over, width="stretch", alt=say("picture", name=case.name))


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


def _laid_over(
    say: Speaker,
    memory: Memory,
    model: Served,
    case: Case,
    person: Mapping[str, Any],
    said: Answer,
    known: tuple[Any, ...],
) -> Pixels:
    """The image under what the controls, which are drawn here, lay over it."""
    key = f"{case.key}-{model.version.uri}"
    pixels: Pixels = memory.get(("pixels", *known[:2]), lambda: _decoded(model, case))
    over = pixels
    if heat.explains(model):
        over = _heated(say, memory, model, person, said, known, pixels, key)
    if said.mask is not None and said.shares:
        opacity = st.slider(say("outline"), 0, 100, OPACITY, key=f"outline-{key}")
        over = look.outlined(over, said.mask, opacity / 100)
    return over


def _heated(
    say: Speaker,
    memory: Memory,
    model: Served,
    person: Mapping[str, Any],
    said: Answer,
    known: tuple[Any, ...],
    pixels: Pixels,
    key: str,
) -> Pixels:
    """The image under its heat map, once that was asked for."""
    left, right = st.columns([2, 1], vertical_alignment="bottom")
    name = left.selectbox(
        say("explained"),
        list(said.chances),
        format_func=lambda name: both(name, say.language),
        key=say.key(f"class-{key}"),
    )
    mapped = ("heat", *known, name)
    if not right.button(say("explain"), key=f"heat-{key}", width="stretch") and mapped not in memory:
        return pixels
    with st.spinner(say("explaining")):
        found = memory.get(mapped, lambda: heat.explained(model, pixels, person, name))
    opacity = st.slider(say("heat"), 0, 100, OPACITY, key=f"opacity-{key}")
    st.caption(say("legend", name=both(name, say.language), masks=heat.MASKS))
    return look.heated(pixels, found, opacity / 100)


def _decoded(model: Served, case: Case) -> Pixels:
    """The case's image, which the model has read, as it is shown."""
    assert model.decoding is not None
    return look.shown(read_image(case.data, IMAGE, Settings.max_pixels, model.decoding, None))
