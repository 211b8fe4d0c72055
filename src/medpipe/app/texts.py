"""What the app says, one table a language. What models say themselves (errors, cards) is in English."""

from typing import Any

LANGUAGES = {"en": "English", "es": "Español"}

ENGLISH = {
    "title": "A model's answer to an image",
    "notice": "This is research software and **no medical device**. No decision about a person may rest on it.",
    "model": "Model",
    "version": "Version",
    "champion": "champion",
    "beside": "Beside it",
    "nobody": "no other model",
    "loading": "Loading the model",
    "empty": "The registry has no model. Run `make repro`, or set MLFLOW_TRACKING_URI to the server that has one.",
    "images": "Images: drop JPEG, PNG, TIFF or DICOM files here, several at once",
    "private": "Images stay in memory, and are dropped when the page is closed. Nothing is written to disk.",
    "drawings": "Or drawings, made by the code",
    "drawing": "Drawing {number}",
    "person": "What is known of the person (for all images)",
    "unknown": "unknown",
    "start": "Give an image, or choose a drawing.",
    "case": "Without an image",
    "picture": "The image {name}",
    "refused": "No answer: {error}",
    "likely": "How probable each class is",
    "high": "high",
    "medium": "medium",
    "low": "low",
    "levels": "Calibrated probabilities. High: from {high}; medium: from {medium}; low: below.",
    "decided": "Decision at the operating point: **{name}**.",
    "refer": "Decision at the operating point: **ask a person**. No class is likely enough.",
    "possible": "Not ruled out: {names}.",
    "impossible": "Every class is ruled out: the case fits none of them.",
    "strange": "**Unlike the images that the model has learnt from** (score {score}): do not rely on the answer.",
    "outlined": "Outlined: {name}, {share} of the pixels.",
    "nothing": "Nothing is outlined.",
    "outline": "Opacity of the outlined area (%)",
    "explain": "Heat map",
    "explained": "Class of the heat map",
    "explaining": "Asking the model about the image with parts of it covered",
    "heat": "Opacity of the heat map (%)",
    "legend": "Yellow: raises the probability of {name} most. Violet: least. By RISE, {masks} masks.",
    "card": "Model card",
    "no_card": "The version has none.",
}

SPANISH = {
    "title": "La respuesta de un modelo a una imagen",
    "notice": "Esto es software de investigación y **no un producto sanitario**. Ninguna decisión sobre una persona "
    "puede basarse en él.",
    "model": "Modelo",
    "version": "Versión",
    "champion": "campeón",
    "beside": "A su lado",
    "nobody": "ningún otro modelo",
    "loading": "Cargando el modelo",
    "empty": "El registro no tiene ningún modelo. Ejecute `make repro`, o ponga en MLFLOW_TRACKING_URI el servidor que "
    "lo tenga.",
    "images": "Imágenes: suelte aquí archivos JPEG, PNG, TIFF o DICOM, varios a la vez",
    "private": "Las imágenes quedan en la memoria y se borran al cerrar la página. Nada se escribe en el disco.",
    "drawings": "O dibujos, hechos por el código",
    "drawing": "Dibujo {number}",
    "person": "Lo que se sabe de la persona (para todas las imágenes)",
    "unknown": "se desconoce",
    "start": "Añada una imagen o elija un dibujo.",
    "case": "Sin imagen",
    "picture": "La imagen {name}",
    "refused": "Sin respuesta: {error}",
    "likely": "Probabilidad de cada clase",
    "high": "alta",
    "medium": "media",
    "low": "baja",
    "levels": "Probabilidades calibradas. Alta: desde {high}; media: desde {medium}; baja: por debajo.",
    "decided": "Decisión en el punto de operación: **{name}**.",
    "refer": "Decisión en el punto de operación: **consultar a una persona**. Ninguna clase es bastante probable.",
    "possible": "Sin descartar: {names}.",
    "impossible": "Todas las clases quedan descartadas: el caso no encaja en ninguna.",
    "strange": "**Distinta de las imágenes de las que aprendió el modelo** (puntuación {score}): no se fíe de la "
    "respuesta.",
    "outlined": "Delimitado: {name}, {share} de los píxeles.",
    "nothing": "No se delimita nada.",
    "outline": "Opacidad de la zona delimitada (%)",
    "explain": "Mapa de calor",
    "explained": "Clase del mapa de calor",
    "explaining": "Preguntando al modelo por la imagen con partes tapadas",
    "heat": "Opacidad del mapa de calor (%)",
    "legend": "Amarillo: lo que más aumenta la probabilidad de {name}. Violeta: lo que menos. Con RISE, "
    "{masks} máscaras.",
    "card": "Ficha del modelo (en inglés)",
    "no_card": "La versión no tiene ninguna.",
}

TABLES = {"en": ENGLISH, "es": SPANISH}


class Speaker:
    """The texts of one language. `say("drawing", number=2)` fills a text's places."""

    def __init__(self, language: str) -> None:
        self.language = language

    def __call__(self, key: str, **values: Any) -> str:
        return TABLES[self.language][key].format(**values)

    def key(self, name: str) -> str:
        """Of a widget whose options are in this language. Streamlit takes a choice by its text (`memory.carry`)."""
        return f"{self.language}:{name}"

    def percent(self, share: float) -> str:
        """A share in [0, 1] with one decimal, as the language writes it."""
        text = f"{100 * share:.1f} %"
        return text.replace(".", ",") if self.language == "es" else text
