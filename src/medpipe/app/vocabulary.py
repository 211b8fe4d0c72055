"""Names in full of the classes, features and their values that the tasks of data.yaml declare."""

NAMES = {  # in English, in Spanish
    "akiec": ("actinic keratosis or Bowen's disease", "queratosis actínica o enfermedad de Bowen"),
    "bcc": ("basal cell carcinoma", "carcinoma basocelular"),
    "bkl": ("benign keratosis", "queratosis benigna"),
    "df": ("dermatofibroma", "dermatofibroma"),
    "mel": ("melanoma", "melanoma"),
    "nv": ("melanocytic naevus", "nevo melanocítico"),
    "vasc": ("vascular lesion", "lesión vascular"),
    "healthy": ("no tumour", "sin tumor"),
    "tumour": ("tumour", "tumor"),
    "COVID": ("COVID-19", "COVID-19"),
    "Lung_Opacity": ("lung opacity", "opacidad pulmonar"),
    "Normal": ("normal", "normal"),
    "Viral Pneumonia": ("viral pneumonia", "neumonía vírica"),
    "age": ("age", "edad"),
    "sex": ("sex", "sexo"),
    "male": ("male", "varón"),
    "female": ("female", "mujer"),
    "localization": ("site", "localización"),
    "abdomen": ("abdomen", "abdomen"),
    "acral": ("acral (palm, sole, nail)", "acral (palma, planta, uña)"),
    "back": ("back", "espalda"),
    "chest": ("chest", "pecho"),
    "ear": ("ear", "oreja"),
    "face": ("face", "cara"),
    "foot": ("foot", "pie"),
    "genital": ("genital", "genital"),
    "hand": ("hand", "mano"),
    "lower extremity": ("leg", "pierna"),
    "neck": ("neck", "cuello"),
    "scalp": ("scalp", "cuero cabelludo"),
    "trunk": ("trunk", "tronco"),
    "upper extremity": ("arm", "brazo"),
}


def full(name: str, language: str) -> str:
    """The name in full, or itself where the vocabulary has none."""
    return NAMES[name][language == "es"] if name in NAMES else name


def both(name: str, language: str) -> str:
    """The name in full with the model's own behind it, where they differ: `melanoma (mel)`."""
    found = full(name, language)
    return found if found.casefold() == name.casefold() else f"{found} ({name})"
