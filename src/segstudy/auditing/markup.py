"""Cells as they are marked up in LaTeX and Markdown, as the plain text that a reader sees.

>>> plain(r"\\textbf{33.61}"), plain(r"$86.5_{\\pm 0.3}$"), plain(r"\\underline{71.2}\\%"), plain("**0.91**[^1]")
('33.61', '86.5 ±0.3', '71.2%', '0.91')
"""

from __future__ import annotations

import html
import re

SYMBOLS = {
    **dict.fromkeys(("uparrow", "Uparrow", "textuparrow"), "↑"),
    **dict.fromkeys(("downarrow", "Downarrow", "textdownarrow"), "↓"),
    **dict.fromkeys(("rightarrow", "to", "Rightarrow", "textrightarrow", "longrightarrow"), "→"),
    **dict.fromkeys(("dagger", "dag", "textdagger", "ddagger", "ddag", "star", "ast", "S", "checkmark", "bullet"), ""),
    "pm": "±",
    "Delta": "Δ",
    "delta": "δ",
    "approx": "≈",
    "sim": "~",
    "times": "×",
    "textendash": "–",
    "textemdash": "—",
    "quad": " ",
    "qquad": " ",
}
# Commands that print nothing of their own, with what stands in braces after them: two for a rule, else one.
SILENT = (
    r"cite\w*|footnote\w*|ref|label|vspace|hspace|cellcolor|rowcolor|color|phantom|hphantom|vphantom|arraybackslash"
)
SILENT_CALL = re.compile(
    rf"[~\s]*\\(?:(?:{SILENT})\b\*?(?:\s*\[[^\]]*\])*(?:\s*\{{[^{{}}]*\}})?|rule(?:\s*\{{[^{{}}]*\}}){{0,2}})"
)
SIGNED = re.compile(
    r"[_^]\s*\{?\s*\(?\s*([-+↑↓]\s*(?:\d+(?:[.,]\d+)?|[.,]\d+)\s*\\?%?)\s*\)?\s*\}?(?=\s*\$?\s*\}*\s*$)"
)
TWO_ARGUMENTS = re.compile(
    r"\\(?:textcolor|colorbox|scalebox|raisebox|rotatebox|resizebox)(?:\[[^\]]*\])*\{[^{}]*\}\s*"
)
STD = re.compile(r"\\std\w*\s*\{([^{}]*)\}")
SUBSCRIPT = re.compile(r"_\s*\{?\s*(?:±|\\pm)?\s*(\d+(?:[.,]\d+)?|[.,]\d+)\s*(\\?%?)\s*\}?(?=\s*\$?\s*\}*\s*$)")
EXPONENT = re.compile(r"\^\s*(?:\{[^{}]*\}|\\?\w+|[*†‡§])")
COMMAND = re.compile(r"\\([A-Za-z]+)\*?\s*(?:\[[^\]]*\])?")
FOOTNOTE = re.compile(r"\[\^[^\]]*\]|<sup>.*?</sup>|\[(.*?)\]\([^()]*\)", re.IGNORECASE)
TAG = re.compile(r"</?(?:b|strong|i|em|u|p|h[1-6]|div|center|sub|span|br|font|mark)\b[^<>]*>", re.IGNORECASE)
MARKDOWN = re.compile(r"(\*{1,3}|_{2,3}|~~|`)(?=\S)(.+?)(?<=\S)\1")
BOLD = re.compile(r"\\(?:textbf|mathbf|bfseries|bf|boldsymbol|bm)\b|\*\*(?=\S)|__(?=\S)|<(?:b|strong)>", re.IGNORECASE)
EMPHASIS = re.compile(r"_(?=\S)([^_]+)_")


def plain(cell: str) -> str:
    """The text of a cell without its markup; a cell without any is left as it is, but for spaces around it."""
    text = html.unescape(cell).strip()
    if "\\" in text or "$" in text or (text.startswith("{") and text.endswith("}")):
        text = _without_latex(text)
    text = TAG.sub(" ", FOOTNOTE.sub(lambda match: match[1] or "", text)) if "[" in text or "<" in text else text
    for _ in range(3):
        text = MARKDOWN.sub(r"\2", text)
    if match := EMPHASIS.fullmatch(text):
        text = match[1]
    return text.strip()


def is_bold(cell: str) -> bool:
    """Whether a cell, or the number in it, is set in bold, as the best of a column often is.

    >>> is_bold(r"\\textbf{33.61}"), is_bold("**0.91**"), is_bold("0.91*")
    (True, True, False)
    """
    return bool(BOLD.search(cell))


def _without_latex(text: str) -> str:
    """LaTeX as text; a subscript that is a number is a spread (86.5_{0.3}), one with a sign a difference (86.5_{+0.3})."""
    text = text.replace(r"\%", "%").replace(r"\&", "&").replace(r"\#", "#").replace(r"\_", "_").replace("\\\\", " ")
    text = STD.sub(r" ±\1", SILENT_CALL.sub("", text))
    for _ in range(4):
        text = TWO_ARGUMENTS.sub("", text)
    text = re.sub(r"\\(up|down)arrow\s*", lambda match: "↑" if match[1] == "up" else "↓", text)
    text = SIGNED.sub(r" (\1)", text)
    spread = SUBSCRIPT.search(text)
    if spread and re.search(r"\d", text[: spread.start()]):
        text = f"{text[: spread.start()]} ±{spread[1]}{text[spread.end() :]}"
    text = EXPONENT.sub("", text)
    text = COMMAND.sub(lambda match: SYMBOLS.get(match[1], " " if match[1] not in SYMBOLS else ""), text)
    text = re.sub(r"\\[,;:! ]|~", " ", text)
    return re.sub(r"\s+", " ", re.sub(r"[{}$]", "", text)).strip()
