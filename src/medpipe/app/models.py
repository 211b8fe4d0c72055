"""Which models the registry has, the champion first, and those that are loaded."""

from dataclasses import dataclass

from medpipe.params import Feature
from medpipe.service import served
from medpipe.service.served import Served
from medpipe.service.settings import MEBI, Settings
from medpipe.serving.cases import declared_features

ALIAS = "champion"
MAX_MEBIBYTES = Settings.max_body // MEBI  # a file


@dataclass(frozen=True)
class Choice:
    """A version of a registered model. `network`: which model of its task it is, '' for one registered by hand."""

    registered: str
    number: str
    network: str
    champion: bool
    card: str

    @property
    def uri(self) -> str:
        return f"models:/{self.registered}/{self.number}"

    @property
    def task(self) -> str:
        return self.registered.rpartition("-")[0]


def choices() -> list[Choice]:
    """Every version in the registry: by the model's name, the champion first, then the newest. Raises InputError where
    there is no registry."""
    client, found = served.registry(), []
    for model in client.search_registered_models():
        champion = str(model.aliases.get(ALIAS))
        for version in client.search_model_versions(f"name = '{model.name}'"):
            number, network = str(version.version), version.tags.get("model", "")
            found.append(Choice(model.name, number, network, number == champion, version.description or ""))
    return sorted(found, key=lambda choice: (choice.registered, not choice.champion, -int(choice.number)))


def rivals(choice: Choice, among: list[Choice]) -> list[Choice]:
    """The other versions of the same task."""
    return [other for other in among if other.task == choice.task and other != choice]


def load(uri: str) -> Served:
    """The version, which takes files and images as large as the service does. Raises InputError."""
    return served.load(served.find(uri), max_pixels=Settings.max_pixels)


def features(models: list[Served]) -> dict[str, Feature]:
    """What the models read beside an image, each once."""
    variants = [variant for model in models for variant in model.recipe.variants]
    return {name: feature for variant in variants for name, feature in declared_features(variant).items()}
