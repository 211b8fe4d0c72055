"""A service of one's own around a registered model: which photographs a dermatologist should see first.

    export MLFLOW_TRACKING_URI=http://server:5000    # or sqlite:////path/to/medpipe/mlflow.db, if mlflow is installed
    uvicorn examples.triage:app                      # in the checkout; MODEL=FOLDER for a package in a folder
    curl -F photo=@lesion.jpg -F age=45 -F sex=female -F localization=back http://127.0.0.1:8000/triage

It needs mlflow-skinny, the packages that the model's requirements.txt names, fastapi, python-multipart and uvicorn; of
medpipe it needs nothing.
"""

import os
from contextlib import asynccontextmanager
from typing import Annotated

import mlflow
import pandas as pd
from fastapi import FastAPI, File, Form, HTTPException

MODEL = os.environ.get("MODEL", "models:/skin-classifier@champion")
UNUSUAL = 0.05  # of cases like those that the model was trained on, this share is farther out
LARGEST = 10_000_000  # bytes of a photograph


@asynccontextmanager
async def lifespan(app: FastAPI):
    app.state.model = mlflow.pyfunc.load_model(MODEL)
    yield


app = FastAPI(title="Triage: no medical device", lifespan=lifespan)


@app.post("/triage")
def triage(
    photo: Annotated[bytes, File()],
    age: Annotated[str, Form()] = "unknown",
    sex: Annotated[str, Form()] = "unknown",
    localization: Annotated[str, Form()] = "unknown",
) -> dict[str, str | float | None]:
    """`first` for a likely melanoma, `look` where the model is unsure or has not seen the like, else `wait`."""
    if len(photo) > LARGEST:
        raise HTTPException(413, f"photo: more than {LARGEST} bytes")
    case = {"image": photo, "age": age, "sex": sex, "localization": localization}
    [answer] = app.state.model.predict(pd.DataFrame([case])).to_dict("records")
    if answer["error"] is not None:
        raise HTTPException(422, answer["error"])
    if answer["ood"] <= UNUSUAL or answer.get("decision") == "refer":
        queue = "look"
    else:
        queue = "first" if answer.get("decision", answer["label"]) == "mel" else "wait"
    return {"queue": queue, "melanoma": answer["mel"], "ood": answer["ood"], "model": app.state.model.model_id}
