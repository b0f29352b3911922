"""Which clauses of a Chinese text are said of this voice, and of which part of the clip."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_FEELING = (
    "激动|愤怒|生气|悲伤|难过|高兴|开心|喜悦|快乐|恐惧|害怕|紧张|焦虑|惊讶|厌恶|兴奋|平静|伤心|"
    "恼怒|疲惫"
)
_IF = re.compile(
    "如果|只有(?:当|在|\\w{1,10}才)|假如|假设|要是|倘若|倘使|假使|若是|若非|若(?=真|他|她|说|音|"
    "语|声|不|有|能|在|为|将|换)|除非|一旦|"
    "换作|换成|本应|本该|本来|应该(?!是|算|属|说)|应当(?!是|算|属|说)|理应|照理|按理|按说|会更|"
    "预期|期待|"
    "原以为|原本以为|本以为|还以为|想象一下|才会|才能|才算|(?<![说讲])的话$|"
    "乍一?听|第一(?:印象|感觉|反应)|(?:一开始|刚开始|开始时|起初|起先|最初|曾)\\w{0,2}(?:以为|觉得|认为|感觉|猜)|"
    "再(?:[高低大小快慢响轻强弱]|提高|降低|加快|放慢)\\w{0,2}[点些]"
)
_GENERAL = re.compile(
    "(?<![比于较跟和与像])通常(?!水平|状态)|往往|一般(?:来说|来讲|而言|情况|会|都|人(?:在|会))|"
    "常常|总是|"
    "常(?:与|和|伴|见于|用于|表现|被|带有|会|是|出现)|多(?:见于|表现为|伴有|伴随)|惯于|总会|"
    "难免|人们|"
    "(?<![说讲言笑哭])的人(?:会|都|说话|一般|多半|大多|常|声音|语速|音调|在|其)|"
    "人在\\w{1,6}(?:时|状态)|"
    "(?<![机体社误领学约不才议教聚])会(?![议话场意员面儿])|普遍|"
    f"(?:{_FEELING})者|(?:{_FEELING})(?:情绪)?意味着|"
    "研究(?:表明|显示)|理论上|众所周知"
)
_THOUGHT = re.compile("以为|觉得|认为|感觉")
_NOT_WRONG = re.compile("(?:如果|要是|假如)\\w{0,3}没有?\\w{0,3}错")
_LIKE = re.compile("[像似]|如同")
_WHEN = re.compile(f"(?:{_FEELING})(?:的)?(?:时|时候|状态下|情绪下)")
_SIGNS = re.compile(f"(?:{_FEELING})的?\\w{{0,4}}(?:特征|表现|标志|特点)(?:是|为|包括|有|在于)")
_KIND = re.compile("(?<![说讲言])的人$")
_OWN = (
    "说话[人者]|讲话[人者]|受访者|被访者|本人|这位|该(?:说|音|语|段|男|女)|叙述者|讲述者|"
    "演唱者|朗读者|演讲者|主播|目标"
)
_TURN = re.compile(
    "但|然而|不过|实际|事实上|其实|这里|此处|却|可是|这段|该音频|这个|这位|相反|反观|没想到|"
    "谁知|不料|岂料|哪知|结果|"
    f"而(?={_OWN}|此|本|她|他|这)"
)
_BUT = re.compile("但|然而|不过|实际|事实上|其实|却|可是")
_DOUBT = re.compile(
    "未必|不一定|不见得|说不准|说不定|难以(?:判断|确定|断定|说)|很?难(?:说|讲|判断)|"
    "无法(?:判断|确定|断定|得知|确认)|不(?:好|易|便|能)(?:判断|断定|确定|确认)|不确定|不清楚|"
    "不知道|"
    "有没有|是否|是不是|究竟|到底(?:是|有)|[^好]吗|呢$|是\\w{1,8}还是|还是(?!语速|音|响|"
    "节奏)\\w{1,6}$|(?:无论|不管|不论)\\w{0,2}(?:多|如何|怎|说|[他她是])|"
    "与否|希望|要求|建议|(?<![申邀])请(?!教)|提醒|催促|劝|叫(?:他|她|对方|大家|孩子)|不该|不应|"
    "不必|"
    "无需|无须|用不着|需要|偶尔|有时|时而|与其说|试想|想要|多[高低快慢大小]$|如何|能不能|要不要|"
    "不能(?:排除|断定|认为|说(?![不没]))|不排除|无法排除|(?:不是|并非)(?:说|因为)|"
    f"[与和跟](?:{_FEELING})\\w{{0,3}}时|是\\w是\\w"
)
_PEOPLE = (
    "另一?(?:外一)?(?:位|个|名|方|边)?(?:说话人|说话者|讲话者|人|男\\w|女\\w|嘉宾|同事|选手)?|"
    "对方|对面|"
    "前一(?:位|个|名|段)|后一(?:位|个|名)|前者|后者|上一(?:位|个|名|段)|采访者|提问者|主持人|记者|"
    "观众|旁人|"
    "别人|他人|其他(?:人|说话|的人|同学|选手|嘉宾|样本|录音|音频|片段|语音)|其余的?人|路人|"
    "身[后旁边](?:的)?人|旁边|周围|同伴|搭档|"
    "那(?:位|个|名)|\\w{0,3}同龄人|第[一二三]位|丈夫|妻子|男友|女友"
)
_PERSON = re.compile(f"(?:{_PEOPLE})")
_NORM = (
    "平[时常日]|往常|正常|一般|普通|常人|平均|预期|想象|通常|以往|之前|开头|刚才|前面|起初|自己|"
    "常态|中性|标准|多数人|最初|开始|上一句|前半|前一句|日常|本来|\\d"
)
_KIN = (
    "男士|女士|男性|女性|男方|女方|男生|女生|男声|女声|"
    "[姐妹哥弟妈爸]{2}|母亲|父亲|孩子|老师|学生|客服|顾客"
)
_COMPARES = "(?:[和与跟同像]|没有?|不像|不如|不及|相较于?|相比于?|比起|超过|逊于|胜过|较之)"
_VERSUS = re.compile(
    f"{_COMPARES}(?:起|之)?\\s?(?:{_PEOPLE}|{_KIN}|[他她我你]们?相?比|\\w{{0,6}}那位)|"
    f"(?<![对相无类])比(?![较如方例喻重])(?!\\w{{0,8}}(?:{_NORM}))\\w|"
    f"[高低大小快慢强弱轻响](?:于|过)(?!\\w{{0,6}}(?:{_NORM}))\\w"
)
_LASTING = re.compile("相比|比起|比较而言|相较|对比")
_GOING_ON = re.compile("[更也还]")
_THING = re.compile(
    "(?:背景|环境|现场)(?!下|音质)(?:[里中的]*)(?:音乐|音|声|噪|人声|杂|的|里|中)|^\\W*(?:音乐|"
    "歌曲|配乐|伴奏|电影|"
    "电视|广播|故事|剧情|情节|小说|比赛|节目|影片|火车|汽车|飞机|机器|风扇|钢琴|吉他|乐队|歌|"
    "[这那]首\\w{0,2}[歌曲]|\\w{0,4}喇叭声|\\w{0,3}[风雨雷水浪车铃键盘掌机器]声|噪音|噪声|"
    "环境音|杂音)|"
    "^[^声嗓语说讲]*的(?:故事|电影|音乐|歌曲|乐曲|节目|比赛|生活|画面|视频|剧情|情节|歌)$"
)
_AS_OBJECT = re.compile("[比和与跟同像对向让给被使把盖过压除随]\\w{0,3}$")
_SELF = re.compile(
    f"{_OWN}|[他她]|嗓|语速|语调|语气|说话|讲话|人声|旁白|口吻|男声|女声|(?:但|却|可是|不过|"
    f"然而)\\w{{0,4}}(?:声音|音调|音高)|(?:音量|响度|声音)(?:却|倒|反而)"
)
_VOICE_ALONE = re.compile(f"{_OWN}|这一?(?:段|条|个)|[而但可][他她]|[他她](?:却|倒|自己)")
_WORD = "(?:字|词|单词|词语|字眼|词组|短语)"
_STRESS = re.compile(
    f"\\s{{2,}}(?:这|那)?(?:一|两|二|三|四|几)?个?{_WORD}|某(?:个|些|几个){_WORD}|个别{_WORD}|"
    f"关键{_WORD}|(?:这|那|该|单|几|两|第.|后一)个?{_WORD}|重音|重读|重点{_WORD}|(?:一些|部分|"
    f"有些){_WORD}|"
    "(?:提到|说到|念到|讲到|谈到|读到|喊到|提及).{0,20}(?:时|的时候|处|之处)|\\s{2,}被|"
    "在\\s{2,}[上处]|强调\\s{2,}"
)
_ADVERBIAL = re.compile("(?:时|时候|处|上|中|里|落在\\s+)\\s*$")
_SUDDEN = re.compile("也|突然|忽然|陡|骤|变[大高尖响]|抬高|提高|升高|加重|加大|拉长")
_WHOLE = re.compile("整体|整段|整句|全句|总体|全程|通篇|其余|整个|始终|自始至终|整体上")
_PHASE = re.compile(
    "(?P<start>开头|一开始|开始时|刚开始|开始部分|起初|起先|最初|先是|前半|前段|句首|起始|前几|"
    "开场|上半|"
    "前面|初段|刚开口|首句|前几句)|"
    "(?P<end>结尾|末尾|句尾|句末|最后|后来|随后|后半|结束时|末段|尾声|后段|收尾|到后面|之后|"
    "接着|继而|而后|"
    "下半|末了|后面|接下来|临近结束|尾句|到后)|"
    "(?P<middle>中间|中段|中途|中部|途中|其间|局部|几处|个别(?:地方|部分)|某些(?:地方|部分)|短暂)"
)
_ENDS_PITCH = re.compile("句尾|句末")


def phases_of(clause: str, *, ends: bool = False) -> list[tuple[int, str]]:
    """Return where a clause names a part of the clip, and which: `start`, `middle` or `end`.

    Args:
        clause: The clause.
        ends: Whether only the end at the clause's beginning counts.
    """
    phases = [(m.start(), m.lastgroup or "") for m in _PHASE.finditer(clause)]
    if ends:
        return [(place, phase) for place, phase in phases if phase == "end" and place <= 2]
    return phases


@dataclass(slots=True)
class Scope:
    """Follows what the clauses of a sentence are about."""

    supposed: bool = False
    is_other: bool = False
    """They are about a sound, or a person, that is not the voice."""
    is_person: bool = False
    compared: bool = False
    """The voice is compared with another's."""
    compares_on: bool = False
    """And is so in the clauses that follow: "相比之下"."""
    stressed: bool = False
    """The last clause was about single words."""
    stresses_on: bool = False
    """And only named them: "说到…时"."""
    started: bool = False
    """A part at the beginning was told of."""
    lasting: str = ""
    """Part of the clip that the last clause was about."""
    phases: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])

    def begin(self, *, keep_phase: bool) -> None:
        """Start a sentence."""
        self.supposed = self.is_other = self.is_person = self.compared = self.stressed = False
        self.lasting = ""
        self.started = self.started and keep_phase

    def admits(self, clause: str, lead: int) -> bool:
        """Whether a clause claims anything.

        Args:
            clause: The clause.
            lead: Where its first word on a voice begins.
        """
        self._follow_phase(clause, lead)
        turned = bool(_TURN.search(clause))
        self.supposed = (self.supposed and not turned) or self._is_supposed(clause)
        self.supposed = self.supposed or self._is_general(clause)
        self._follow_subject(clause, lead)
        self._follow_comparison(clause)
        stressed = self._is_stress(clause)
        return not (self.supposed or self.compared or stressed or _DOUBT.search(clause))

    def own_noun(self, noun: str) -> bool:
        """Whether a noun is of the voice even where the clause before was not."""
        return not self.is_other or (noun in ("speech", "intonation") and not self.is_person)

    def phase(self, place: int) -> str:
        """Return the part of the clip that is told of at a place of the clause."""
        before = [phase for start, phase in self.phases if start <= place]
        return before[-1] if before else self.phases[0][1] if self.phases else self.lasting

    def _follow_phase(self, clause: str, lead: int) -> None:
        last = self.phases[-1][1] if self.phases else self.lasting
        self.phases = [] if _THOUGHT.search(clause) else phases_of(clause)
        if clause.strip() == "最后" and not self.started:
            self.phases = []  # the last point of a list
        self.started = self.started or any(phase == "start" for _, phase in self.phases)
        keeps = last == "start" or (last == "end" and self.started)
        self.lasting = last if keeps and not _WHOLE.search(clause) else ""
        if self.phases and _ENDS_PITCH.search(clause):
            self.lasting = ""

    def _is_supposed(self, clause: str) -> bool:
        return bool(_IF.search(clause)) and not _NOT_WRONG.search(clause)

    def _is_general(self, clause: str) -> bool:
        if _GENERAL.search(clause):
            return True
        if _KIND.search(clause):
            return not _LIKE.search(clause)
        general = _WHEN.search(clause) or _SIGNS.search(clause)
        return bool(general) and not re.search(f"{_OWN}|[他她这了]", clause)

    def _follow_subject(self, clause: str, lead: int) -> None:
        """Tell whether the clause is about another sound or person than the voice."""
        head = clause[: max(lead, 0)]
        person = _PERSON.search(head)
        is_person = person is not None and not _AS_OBJECT.search(head[: person.start()])
        thing = _THING.search(clause)
        is_thing = thing is not None and not _AS_OBJECT.search(clause[: thing.start()])
        if is_person or is_thing:
            self.is_other, self.is_person = True, is_person
            return
        returns = _VOICE_ALONE if self.is_person else _SELF
        if self.is_other and returns.search(clause):
            self.is_other = self.is_person = False

    def _follow_comparison(self, clause: str) -> None:
        """Tell whether the clause compares the voice with another."""
        if _VERSUS.search(clause):
            self.compared, self.compares_on = True, bool(_LASTING.search(clause))
            return
        goes_on = self.compares_on or bool(_GOING_ON.search(clause))
        self.compared = self.compared and goes_on and not _BUT.search(clause)

    def _is_stress(self, clause: str) -> bool:
        """Whether the clause is about single words."""
        if _STRESS.search(clause):
            self.stressed = True
            self.stresses_on = bool(_ADVERBIAL.search(clause)) and "重" not in clause
            return True
        goes_on = self.stresses_on or bool(_SUDDEN.search(clause))
        carried = self.stressed and goes_on and not _WHOLE.search(clause)
        self.stressed = False
        return carried
