"""The corpora that can be read, by name."""

from __future__ import annotations

from annotate.corpora.base import Corpus
from annotate.corpora.emobox import read_emobox
from annotate.corpora.emotioncot import read_emotioncot
from annotate.corpora.esd import read_esd
from annotate.corpora.expresso import read_expresso
from annotate.corpora.iemocap import read_iemocap
from annotate.corpora.meld import read_meld
from annotate.corpora.msp_podcast import read_msp_podcast
from annotate.corpora.named import NAMED

CORPORA = {
    "crema_d": Corpus(
        NAMED["crema_d"].read, "speaker", {"transcript": "twelve sentences, said by everyone"}
    ),
    "ears": Corpus(
        NAMED["ears"].read, "speaker", {"transcript": "every speaker reads the same sentences"}
    ),
    "emobox": Corpus(
        read_emobox,
        "official",
        {
            "unknown_speaker": "the folds are the benchmark's, and few of its lists name speakers",
            "transcript": "many of its acted corpora have few sentences, said by everyone",
        },
    ),
    "emotioncot": Corpus(
        read_emotioncot,
        "speaker",
        {"transcript": "Expresso and EARS have the same sentences from everyone"},
    ),
    "esd": Corpus(
        read_esd,
        "speaker",
        {
            "transcript": "each sentence is said by everyone of a language with every emotion",
        },
    ),
    "expresso": Corpus(
        read_expresso,
        "official",
        {
            "speaker": "four speakers, all in every split",
            "session": "long dialogues are split by time",
            "transcript": "the same sentences in several styles and voices",
        },
    ),
    "iemocap": Corpus(
        read_iemocap, "session", {"transcript": "the scripted dialogues recur in every session"}
    ),
    "mead": Corpus(
        NAMED["mead"].read, "speaker", {"transcript": "every actor says the same sentences"}
    ),
    "meld": Corpus(
        read_meld,
        "official",
        {
            "speaker": "the main characters are in every split",
            "transcript": "short lines such as `Hey!` recur",
        },
    ),
    "msp_podcast": Corpus(
        read_msp_podcast,
        "official",
        {"unknown_speaker": "speakers of many clips are not named, most of them for training"},
    ),
    "ravdess": Corpus(
        NAMED["ravdess"].read, "speaker", {"transcript": "two sentences, said by everyone"}
    ),
    "savee": Corpus(
        NAMED["savee"].read, "speaker", {"transcript": "each speaker says the same sentences"}
    ),
}
