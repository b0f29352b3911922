"""The corpora that can be read, by name."""

from __future__ import annotations

from annotate.corpora.acted import ACTED
from annotate.corpora.base import Corpus
from annotate.corpora.cmu_mosei import read_cmu_mosei
from annotate.corpora.dailytalk import read_dailytalk
from annotate.corpora.dusha import read_dusha
from annotate.corpora.emobox import read_emobox
from annotate.corpora.emotioncot import read_emotioncot
from annotate.corpora.esd import read_esd
from annotate.corpora.expresso import read_expresso
from annotate.corpora.iemocap import read_iemocap
from annotate.corpora.m3ed import read_m3ed
from annotate.corpora.meld import read_meld
from annotate.corpora.msp_improv import read_msp_improv
from annotate.corpora.msp_podcast import read_msp_podcast
from annotate.corpora.named import NAMED

CORPORA = {
    "casia": Corpus(
        ACTED["casia"].read, "speaker", {"transcript": "fifty sentences, said by everyone"}
    ),
    "cmu_mosei": Corpus(
        read_cmu_mosei,
        "session",
        {
            "unknown_speaker": "nobody says who speaks in a video, which is a session",
            "transcript": "short sentences such as `Thank you.` recur",
        },
    ),
    "crema_d": Corpus(
        NAMED["crema_d"].read, "speaker", {"transcript": "twelve sentences, said by everyone"}
    ),
    "dailytalk": Corpus(
        read_dailytalk,
        "session",
        {
            "speaker": "two speakers, both in nearly every dialogue",
            "transcript": "dialogues share short lines",
        },
    ),
    "dusha": Corpus(read_dusha, "official", {"transcript": "short requests to an assistant recur"}),
    "ears": Corpus(
        NAMED["ears"].read, "speaker", {"transcript": "every speaker reads the same sentences"}
    ),
    "emobox": Corpus(
        read_emobox,
        "official",
        {
            "unknown_speaker": "the folds are the benchmark's, and few of its keys name speakers",
            "speaker": "the corpora with one fold are mostly parted by clips, not by speakers",
            "transcript": "many of its acted corpora have few sentences, said by everyone",
        },
    ),
    "emodb": Corpus(
        ACTED["emodb"].read, "speaker", {"transcript": "ten sentences, said by everyone"}
    ),
    "emotioncot": Corpus(
        read_emotioncot,
        "speaker",
        {"transcript": "Expresso and EARS have the same sentences from everyone"},
    ),
    "emovdb": Corpus(
        ACTED["emovdb"].read, "speaker", {"transcript": "every speaker reads the same sentences"}
    ),
    "enterface": Corpus(ACTED["enterface"].read, "speaker"),
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
    "jl": Corpus(
        ACTED["jl"].read, "speaker", {"transcript": "every speaker says the same sentences"}
    ),
    "m3ed": Corpus(read_m3ed, "official", {"transcript": "short lines recur in all series"}),
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
    "msp_improv": Corpus(
        read_msp_improv, "session", {"transcript": "twenty target sentences, said by everyone"}
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
    "tess": Corpus(
        ACTED["tess"].read, "speaker", {"transcript": "both speakers say the same words"}
    ),
}
