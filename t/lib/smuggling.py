# SPDX-License-Identifier: ISC
"""Ends of data that one server sees and another does not: CRLF.CRLF with something missing or added.

Each stands between the text of a message and a second envelope. None is an end of data, and each holds a bare CR,
a bare LF or a NUL, so there is one right answer: a refusal and the end of the connection.
"""

LAB = {  # terminators with a byte left out, or with a NUL
    "A1 LF . CRLF": b"\n.\r\n",
    "A2 CRLF . LF": b"\r\n.\n",
    "A8 LF . LF": b"\n.\n",
    "A8 CR . CR": b"\r.\r",
    "A8 CR . CRLF": b"\r.\r\n",
    "A8 CRLF . CR": b"\r\n.\r",
    "A1 LF CRLF . CRLF": b"\n\r\n.\r\n",
    "A5 CR NUL LF . CRLF": b"\r\0\n.\r\n",
    "A5 NUL CRLF . CRLF": b"\0\r\n.\r\n",
    "A5 CRLF . CR NUL LF": b"\r\n.\r\0\n",
    "A5 CRLF . NUL CRLF": b"\r\n.\0\r\n",
    "A5 CRLF NUL . CRLF": b"\r\n\0.\r\n",
    "A5 CRLF NUL": b"\r\n\0",
}
SCANNER = {  # what scanners send outbound
    "A6 CRLF . CR CRLF": b"\r\n.\r\r\n",
    "A6 CR CRLF . CR CRLF": b"\r\r\n.\r\r\n",
    "A6 CR CRLF . CRLF": b"\r\r\n.\r\n",
    "A6 CR CRLF NUL . CR CRLF": b"\r\r\n\0.\r\r\n",
    "A1 CRLF CR . CRLF": b"\r\n\r.\r\n",
    "A1 LF CR . CRLF": b"\n\r.\r\n",
    "A1 LF LF . CRLF": b"\n\n.\r\n",
    "A2 LF . CR LF LF": b"\n.\r\n\n",
    "A8 LF . CR": b"\n.\r",
}
TERMINATORS = LAB | SCANNER
# The commands of a second message, as text behind such a terminator.
ENVELOPE = b"MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\nFrom: %s\r\nSubject: smuggled\r\n\r\nsmuggled\r\n.\r\n"


def payload(header, terminator, sender, rcpt):
    return header + b"one\r\ntwo" + terminator + ENVELOPE % (sender, rcpt, sender)
