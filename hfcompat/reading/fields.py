"""The fields that `expand` may name: for each kind of repository all that the clients' lists hold."""

from storage.records import RepoKind

_SHARED = """
author cardData createdAt disabled gitalyUid lastModified likes private resourceGroup sha siblings tags
trendingScore usedStorage xetEnabled
"""
_MODEL = """
baseModels childrenModelCount config downloads downloadsAllTime evalResults gated gguf inference
inferenceProviderMapping library_name mask_token model-index pipeline_tag safetensors spaces transformersInfo
widgetData
"""
_DATASET = "citation description downloads downloadsAllTime gated mainSize paperswithcode_id"
_SPACE = "datasets models region runtime sdk subdomain"

EXPANDABLE = {
    RepoKind.MODEL: frozenset(f"{_SHARED} {_MODEL}".split()),
    RepoKind.DATASET: frozenset(f"{_SHARED} {_DATASET}".split()),
    RepoKind.SPACE: frozenset(f"{_SHARED} {_SPACE}".split()),
}
