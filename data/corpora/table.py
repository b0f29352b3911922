"""The corpora that can be read, by name."""

from __future__ import annotations

from data.corpora.base import Corpus
from data.corpora.ravdess import read_ravdess

CORPORA = {
    "ravdess": Corpus(read_ravdess, "speaker", {"transcript": "two sentences, said by everyone"}),
}
