"""Record the ids that GPT-2's tokenizer gives, for the tests to compare with.

Run it with Python 3.10, in an environment that has tokenizers (0.23) and tiktoken (0.14), on a
folder with the files of OpenAI's release, ``encoder.json`` and ``vocab.bpe`` (or ``vocab.json`` and
``merges.txt``, as Hugging Face calls them)::

    python tests/recordings/record_tokenizer.py FOLDER

It writes beside itself:

- ``gpt2_merges.txt.xz``: the 50,000 merges of GPT-2 (OpenAI, MIT licence), as they are. Its ids
  all follow from these, and that is checked here: the bytes in their order, the results of the
  merges in theirs, ``<|endoftext|>``;
- ``gpt2_ids.json.xz``: what the reference makes of several thousand strings, in JSON:

  - ``versions``: of the two packages and of Unicode;
  - ``classes``: the class of every code point, in runs of ``[class, how many]`` from U+0000 on:
    ``L`` letter, ``N`` number, ``S`` space, ``O`` other, as the reference cuts, and ``-`` where
    nothing is recorded: not assigned, or half of a surrogate pair;
  - ``strings``: by group, ``[text, ids]``;
  - ``ordinary``: ``[text, ids]`` where special tokens in the text are text like any other;
  - ``decoded``: ``[ids, text]``, from random ids, so that many texts hold U+FFFD;
  - ``trained``: ``text``, ``size`` and the ``merges`` that Hugging Face's trainer learns from it.

Why Python 3.10: its Unicode (13.0) is the oldest that the project meets. Which class a character
has is taken from Python's table there, so what is recorded uses only characters that stand in the
oldest one; with those that came later, ids depend on the Python that runs. (No character of 13.0
has another class in the newer tables that the references have: ``classes`` below compares them.)

There are two references, Hugging Face's ``tokenizers`` and OpenAI's ``tiktoken``. They agree on
every string that is recorded, or this script stops. Nothing here imports ``numpy_transformer``.
"""

from __future__ import annotations

import itertools
import json
import lzma
import random
import sys
import unicodedata
from importlib.metadata import version
from pathlib import Path

import tiktoken
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

FOLDER = Path(__file__).parent
END_OF_TEXT = "<|endoftext|>"
PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

# White_Space in Unicode, and what is near to it: separators of information, zero widths.
SPACES = [*"\t\n\v\f\r \x85\xa0\u1680", *map(chr, range(0x2000, 0x200B)), *"\u2028\u2029\u202f"]
SPACES += [*"\u205f\u3000"]
NEAR_SPACES = [*"\x1c\x1d\x1e\x1f\u180e\u200b\u200c\u200d\u2060\ufeff\u00ad\u2800\u3164"]

SENTENCES = """\
The quick brown fox jumps over the lazy dog, doesn't it? Of course it DOESN'T!
"Well," she said, "I'll see what they've got -- it's 5 o'clock; we'd better go."
Les élèves naïfs de l'école où j'ai étudié ont mangé des crêpes à Noël.
Die Straße ist weiß; Größe, Äpfel, Öl und Überfluß. Ein ẞ gibt es auch.
¿Dónde está el niño? ¡Mañana será otro día!
Příliš žluťoučký kůň úpěl ďábelské ódy.
Zażółć gęślą jaźń. Łódź. Pchnąć w tę łódź jeża.
İstanbul'da ılık bir gün; ışık, ğ, ş, ç.
Þetta er íslenska: ð, þ, æ, ö.
Tiếng Việt có nhiều dấu: ướt, được, nghĩa, ở đâu.
Съешь же ещё этих мягких французских булок, да выпей чаю.
Їжак і ґанок: українська мова. Ћирилица: Њујорк, џеп.
Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Ἐν ἀρχῇ ἦν ὁ λόγος.
Բարեւ ձեզ, ինչպե՞ս եք։
გამარჯობა, როგორ ხარ? ᲒᲐᲛᲐᲠᲯᲝᲑᲐ
שלום עולם! בְּרֵאשִׁית בָּרָא אֱלֹהִים. צה"ל, ג'ירפה.
مرحبا بالعالم؟ اَلْعَرَبِيَّةُ ١٢٣٤٥. سلام دنیا ۱۲۳۴۵، می‌خواهم.
ܫܠܡܐ ܠܥܠܡܐ. ދިވެހި.
नमस्ते दुनिया। क्षत्रिय, श्री, हिन्दी १२३४५।
বাংলা ভাষা ১২৩। ਪੰਜਾਬੀ ੧੨੩। ગુજરાતી ૧૨૩।
தமிழ் மொழி ௧௨௩ ௰௱௲। తెలుగు భాష ౧౨౩। ಕನ್ನಡ ೧೨೩। മലയാളം ൧൨൩ ൰൱൲। සිංහල.
ภาษาไทยไม่มีช่องว่างระหว่างคำ ๑๒๓๔๕ ฯลฯ
ພາສາລາວ ໑໒໓. བོད་སྐད་ ༡༢༣ ༪. မြန်မာဘာသာ ၁၂၃။ ភាសាខ្មែរ ១២៣។
ሰላም ልዑል፣ አማርኛ ፩፪፫። ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ. ᐃᓄᒃᑎᑐᑦ. ᚠᚢᚦᚨᚱᚲ ᛮᛯᛰ. ᚛ᚑᚌᚐᚋ᚜
ᠮᠣᠩᠭᠣᠯ ᠪᠢᠴᠢᠭ ᠑᠒᠓. ⵜⴰⵎⴰⵣⵉⵖⵜ. ꦧꦱꦗꦮ ꧑꧒꧓. ᬩᬲᬩᬮᬶ.
我能吞下玻璃而不伤身体。繁體中文，測試一二三〇。㐀㐁䶵
いろはにほへと ちりぬるを、カタカナ・ｶﾀｶﾅ「漢字」ー々〆〤。第３回 ㊙㍿ ①②③
모든 인간은 태어날 때부터 자유로우며, 한국어 각 ㄱㄴㄷ ㅏㅑㅓ. 123년
ㄅㄆㄇㄈ ㄧㄨㄩ ꆈꌠꉙ ꀀꀁ. 𠮷野家 𩸽 𪚥 𫝀
𝐌𝐚𝐭𝐡 𝒳 𝔛 𝕏 𝟘𝟙𝟚 𝟬𝟭 ∀x∈ℝ: ⌈x⌉ = −⌊−x⌋, α∧¬β ≤ ∑√∞ ≠ ½ + ⅓ − x² · 10⁻³
𐌰𐌱𐌲 𐍈 𐎀𐎁 𐏑𐏒 𐄇𐄈 𒀀𒁀 𒐀𒐁 𓀀𓁐 𐡘𐡙 𐤀𐤁 𞤀𞤣 𞥐𞥑 𑁦𑁧 𑄶𑄷 𖩠𖩡
""".splitlines()

CODE = [
    "def f(x):\n    return x**2 + 1  # square\n\n\n\tif not x:\n\t\tpass\n",
    "for (int i=0;i<10;i++){printf(\"%d\\n\", a[i]);} /* end */ //---------",
    "<div class=\"a b\"><a href='https://example.org/?q=1&r=%20#top'>it's</a></div>\r\n",
    "SELECT * FROM t WHERE a>=1 AND b<>'x''y';\r\n\r\n",
    "https://en.wikipedia.org/wiki/Byte_pair_encoding?action=edit&section=12#Notes",
    "user.name+tag@mail.example.com 192.168.0.1 ::1/128 C:\\Users\\x\\y.txt ~/a/b-c_d.tar.gz",
    "{\"key\": [1, 2.5e-10, null, true], \"nested\": {\"a\": \"\\u00e9\"}}",
    "$ ls -la | grep '^d' && echo \"done\" > /dev/null 2>&1; exit $?",
    "\\begin{align} \\frac{a}{b} &= \\sqrt{x^2+y^2} \\\\ \\end{align}",
    "@@ -1,7 +1,7 @@\n-old\n+new\n ============\n ~~~~ **** ____ #### !!!! ????",
]

CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"]

EMOJI = [
    "😀😃😄😁", "👍🏻👍🏽👍🏿", "👨‍👩‍👧‍👦 👩‍🚀 🏳️‍🌈 🏴‍☠️",
    "❤️ ❤ ☀️ ☀ ✈️", "🇩🇪🇫🇷🇯🇵 🇺🇳", "1️⃣2️⃣ #️⃣ *️⃣", "🏴󠁧󠁢󠁳󠁣󠁴󠁿",
    "™️ ©️ ®️ ‼️ ⁉️", "ok👌done", "a😀b 😀 c😀", "🤷‍♀️🤷🏾‍♂️", "©®™", "⌚⏰ ⏳",
    "♠♥♦♣", "🀄🃏", "x🎉🎉🎉!!!", "\u200d\ufe0f",
]


def references(folder: Path) -> tuple[Tokenizer, tiktoken.Encoding, str]:
    """The two tokenizers, and the text of the merges they were made from."""
    vocabulary = json.loads(first_of(folder, "encoder.json", "vocab.json"))
    text = first_of(folder, "vocab.bpe", "merges.txt")
    pairs = [tuple(line.split(" ")) for line in text.rstrip("\n").split("\n")[1:]]
    characters = sorted(pre_tokenizers.ByteLevel.alphabet())
    order = [*characters, *(left + right for left, right in pairs), END_OF_TEXT]
    if [vocabulary[token] for token in order] != list(range(50257)) or len(vocabulary) != 50257:
        raise ValueError("the ids do not follow from the merges")

    hugging_face = Tokenizer(models.BPE(vocabulary, pairs))
    hugging_face.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    hugging_face.decoder = decoders.ByteLevel()
    hugging_face.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])

    # Here each byte is written as itself, and a merge as the bytes that it makes.
    byte_of = {hugging_face.token_to_id(c): bytes([b]) for b, c in by_byte(characters).items()}
    ranks = {bytes_: number for number, bytes_ in byte_of.items()}
    as_bytes = {characters[number]: bytes_ for number, bytes_ in byte_of.items()}
    for number, (left, right) in enumerate(pairs, 256):
        as_bytes[left + right] = as_bytes[left] + as_bytes[right]
        ranks[as_bytes[left + right]] = number
    openai = tiktoken.Encoding(
        "gpt2", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={END_OF_TEXT: 50256}
    )
    return hugging_face, openai, text


def first_of(folder: Path, *names: str) -> str:
    """The text of the first file that is there."""
    return next(folder / n for n in names if (folder / n).exists()).read_text(encoding="utf-8")


def by_byte(characters: list[str]) -> dict[int, str]:
    """The character that stands for each byte: itself if it is printable, else one from U+0100."""
    hidden = iter(c for c in characters if ord(c) >= 0x100)
    return {b: chr(b) if chr(b) in characters else next(hidden) for b in range(256)}


def assigned() -> list[str]:
    """All characters that there are in this Python's Unicode, surrogates left out."""
    every = map(chr, range(sys.maxunicode + 1))
    return [c for c in every if unicodedata.category(c) not in ("Cn", "Cs")]


def class_of(character: str, cut) -> str:
    """The class of a character, from where the reference cuts beside it."""
    for name, other in ("L", "a"), ("N", "1"), ("O", "!"):
        if len(cut.pre_tokenize_str(other + character)) == 1:
            return name
    return "S"


def classes() -> list[list]:
    """The class of every code point in runs, after a comparison with Python's categories."""
    cut = pre_tokenizers.ByteLevel(add_prefix_space=False)
    known = set(assigned())
    found = [class_of(c, cut) if c in known else "-" for c in map(chr, range(sys.maxunicode + 1))]
    for code, name in enumerate(found):
        major = unicodedata.category(chr(code))[0]
        expected = major if major in "LN" else "S" if chr(code) in SPACES else "O"
        if name not in ("-", expected):
            raise ValueError(f"U+{code:04X} is {expected} in Unicode 13, {name} in the reference")
    return [[name, sum(1 for _ in run)] for name, run in itertools.groupby(found)]


def strings() -> dict[str, list[str]]:
    """The texts to be recorded, by group."""
    rng = random.Random(2019)
    characters = assigned()
    groups: dict[str, list[str]] = {}

    def few(of: list[str], n: int) -> str:
        return "".join(rng.choice(of) for _ in range(n))

    # The code points in rows of 64, or of 1,024 where there are only ideographs, Hangul, Tangut or
    # private characters. From each row some characters, with others between that take part in cuts.
    rows: dict[int, list[str]] = {}
    for character in characters:
        code = ord(character)
        large = code >= 0x20000 or any(
            first <= code <= last
            for first, last in ((0x3400, 0x9FFF), (0xAC00, 0xF8FF), (0x17000, 0x18BFF))
        )
        rows.setdefault(code // 1024 * 16 if large else code // 64, []).append(character)
    between = ["", "", " ", " ", "  ", "1", ".", "'s", "a", "\n"]
    groups["rows"] = [
        "".join(few(row, rng.randint(1, 3)) + rng.choice(between) for _ in range(5))
        for number, row in rows.items()
        for _ in range(4 if number * 64 < 0x30000 or 0xE0000 <= number * 64 < 0xF0000 else 0)
    ]
    of_category: dict[str, list[str]] = {}
    for character in characters:
        of_category.setdefault(unicodedata.category(character), []).append(character)
    groups["categories"] = [
        few(of, 3) + " " + few(of, 2) + few(of_category[other], 2)
        for of in of_category.values()
        for other in of_category
    ]
    groups["numbers"] = [
        template.format("".join(of[i : i + n]), few(of, 2))
        for of in (of_category[name] for name in ("Nd", "Nl", "No"))
        for i in range(0, len(of), 23)
        for n, template in [(rng.choice([1, 4, 10]), rng.choice(["{0}", "a{0} {1}", " {0}.{1}x"]))]
    ]
    groups["marks"] = [
        unicodedata.normalize(form, sentence)
        for sentence in SENTENCES
        for form in ("NFD", "NFKC")
        if unicodedata.normalize(form, sentence) != sentence
    ] + ["Z" + few(of_category["Mn"], 20) + "a" + few(of_category["Mc"], 5) for _ in range(10)]

    # One character of every class, and of every kind of space, in every order.
    kinds = ["a", "é", "7", "²", "!", "'", "s", " ", "\n", "\t", "\xa0"]
    groups["orders"] = ["".join(t) for n in range(4) for t in itertools.product(kinds, repeat=n)]
    groups["orders"] += [few(kinds, rng.randint(4, 12)) for _ in range(500)]

    runs = [(1, "a{}b"), (2, "a{}b"), (3, "{}b7"), (2, "a{}"), (1, "!{}!"), (4, "{}")]
    groups["spaces"] = [
        template.format(space * n) for space in SPACES + NEAR_SPACES for n, template in runs
    ] + ["a" + few(SPACES + NEAR_SPACES, rng.randint(2, 6)) + "b" for _ in range(200)]
    groups["spaces"] += [f"a{' ' * n}b{' ' * n}" for n in range(1, 40)]

    apostrophes = [("'", str.lower), ("'", str.upper), ("'", str.title), ("\u2019", str.lower),
                   ("\u02bc", str.lower), (" '", str.lower), ("''", str.lower), ("' ", str.lower)]
    groups["contractions"] = [
        template.format(mark + change(end[1:]))
        for end in CONTRACTIONS + ["'x", "'rex", "'st"]
        for mark, change in apostrophes
        for template in ["we{}", "{}", "é{} ", "I{}s"]
    ]
    groups["control"] = [
        text
        for code in [*range(0x20), *range(0x7F, 0xA0)]
        for text in (chr(code), f"a{chr(code)}{chr(code)} b")
    ] + [few([*map(chr, range(0x20))], 8) for _ in range(20)]
    groups["ascii"] = [few([*map(chr, range(0x20, 0x7F))], rng.randint(5, 40)) for _ in range(200)]
    groups["sentences"] = SENTENCES
    groups["code"] = CODE
    groups["emoji"] = EMOJI
    groups["long"] = [
        "a" * 3001, " " * 3001, "\n" * 1001, "ab" * 1000, "the" * 500, "0123456789" * 200,
        "-" * 2001, "é" * 801, "字" * 601, "x" + " " * 2000 + "y", "=" * 79 + "\n" + "=" * 80,
        "ha" * 300 + "!" * 300,
        few([*"etaoinshrdlu"], 3000), few([*"ACGT"], 2000), few([*"01"], 2000),
    ]
    groups["special"] = [
        text.replace("<>", END_OF_TEXT)
        for text in [
            "<>", "a<>", "<>a", " <> ", "a  <>  b", "<><>", "it's<>'s", "\n\n<>\n\n", "<<>>",
            "7<>7  ", "<|endoftext<>endoftext|>", "\u6587<>\u5b57", "<|endoftext|", "<|endoftext",
            "|endoftext|>", "<|ENDOFTEXT|>", "<| endoftext |>", "<|endoftext|\x00>",
        ]
    ]
    for name, texts in groups.items():
        if not set(characters).issuperset("".join(texts)):
            raise ValueError(f"{name} holds a character that is not in Unicode 13")
    return {name: list(dict.fromkeys(texts)) for name, texts in groups.items()}


def main(folder: Path) -> None:
    """Record."""
    if unicodedata.unidata_version != "13.0.0":
        raise SystemExit("run this with Python 3.10, whose Unicode is 13.0")
    hugging_face, openai, merges = references(folder)

    def ids_of(text: str) -> list[int]:
        ids = hugging_face.encode(text).ids
        if ids != openai.encode(text, allowed_special="all") or openai.decode(ids) != text:
            raise ValueError(f"the references do not agree on {text!a}")
        return ids

    groups = strings()
    rng = random.Random(7)
    decoded = []
    for _ in range(300):
        ids = [rng.choice([rng.randrange(256), rng.randrange(50257)]) for _ in range(8)]
        text = hugging_face.decode(ids, skip_special_tokens=False)
        if text != openai.decode(ids):
            raise ValueError(f"the references do not agree on {ids}")
        decoded.append([ids, text])

    text, size = "\n".join(SENTENCES + CODE + groups["orders"][-500:] + groups["long"][-3:]), 800
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    trained.train_from_iterator([text], trainer)

    values = {
        "versions": {name: version(name) for name in ("tokenizers", "tiktoken")}
        | {"unicode": unicodedata.unidata_version},
        "classes": classes(),
        "strings": {name: [[t, ids_of(t)] for t in texts] for name, texts in groups.items()},
        "ordinary": [[t, openai.encode_ordinary(t)] for t in groups["special"]],
        "decoded": decoded,
        "trained": {
            "text": text,
            "size": size,
            "merges": json.loads(trained.to_str())["model"]["merges"],
        },
    }
    for name, content in (
        ("gpt2_merges.txt.xz", merges),
        ("gpt2_ids.json.xz", json.dumps(values, ensure_ascii=False, separators=(",", ":"))),
    ):
        packed = lzma.compress(content.encode("utf-8"), preset=9 | lzma.PRESET_EXTREME)
        (FOLDER / name).write_bytes(packed)
        print(name, len(packed))
    for name, texts in groups.items():
        print(name, len(texts))
    print("together", sum(map(len, groups.values())))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
