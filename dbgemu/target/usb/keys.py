"""Keys by QEMU's names, as the usages that a USB keyboard reports (HID Usage Tables 1.12, chapter 10)."""

from __future__ import annotations

from string import ascii_lowercase, digits

#: the first of the eight modifiers, which are bits of a report's first byte
FIRST_MODIFIER, LAST_MODIFIER = 0xE0, 0xE7

_FROM = {
    0x28: "ret esc backspace tab spc minus equal bracket_left bracket_right backslash",
    0x33: "semicolon apostrophe grave_accent comma dot slash caps_lock",
    0x3A: "f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 f11 f12 sysrq scroll_lock pause",
    0x49: "insert home pgup delete end pgdn right left down up num_lock",
    0x54: "kp_divide kp_multiply kp_subtract kp_add kp_enter",
    0x59: "kp_1 kp_2 kp_3 kp_4 kp_5 kp_6 kp_7 kp_8 kp_9 kp_0 kp_decimal less compose power",
    0x74: "open help",
    0x77: "front stop again undo cut copy paste find mute volumeup volumedown",
    0xE0: "ctrl shift alt meta_l ctrl_r shift_r alt_r meta_r",
}

#: QEMU's key name -> usage
KEYS: dict[str, int] = {
    **{letter: 0x04 + place for place, letter in enumerate(ascii_lowercase)},
    **{digit: 0x1E + place for place, digit in enumerate(digits[1:] + digits[0])},
    **{name: first + place for first, names in _FROM.items() for place, name in enumerate(names.split())},
    # other names of the same keys
    "print": 0x46,
    "menu": 0x65,
    "altgr": 0xE6,
    "asterisk": 0x55,
    "enter": 0x28,
    "space": 0x2C,
}

#: character -> the keys that type it on a US keyboard
CHARACTERS: dict[str, tuple[str, ...]] = {
    **{letter: (letter,) for letter in ascii_lowercase},
    **{letter.upper(): ("shift", letter) for letter in ascii_lowercase},
    **{digit: (digit,) for digit in digits},
    **{sign: ("shift", digit) for sign, digit in zip("!@#$%^&*()", digits[1:] + digits[0], strict=True)},
    " ": ("spc",),
    "\n": ("ret",),
    "\t": ("tab",),
}
for _name, _plain, _shifted in (
    ("minus", "-", "_"),
    ("equal", "=", "+"),
    ("bracket_left", "[", "{"),
    ("bracket_right", "]", "}"),
    ("backslash", "\\", "|"),
    ("semicolon", ";", ":"),
    ("apostrophe", "'", '"'),
    ("grave_accent", "`", "~"),
    ("comma", ",", "<"),
    ("dot", ".", ">"),
    ("slash", "/", "?"),
):
    CHARACTERS[_plain], CHARACTERS[_shifted] = (_name,), ("shift", _name)
