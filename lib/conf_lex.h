/* SPDX-License-Identifier: ISC */
/*
 * Words of a configuration text. A word ends at a blank, a line end or one of { } ; and a quoted
 * one
 * ("...", with \" and \\ inside) at its quote. '#' where a word may begin starts a comment; a
 * backslash at the end of a line joins the next one. Linear time; private to lib/conf*.c.
 */
#ifndef EKIDEN_CONF_LEX_H
#define EKIDEN_CONF_LEX_H

#include "lib/buf.h"

enum { CONF_WORD_MAX = 4096 };

enum conf_token { CONF_WORD, CONF_OPEN, CONF_CLOSE, CONF_END, CONF_EOF, CONF_BAD };

struct conf_lexer {
	struct view rest;
	unsigned line, column; /* of the next character, from 1; columns count characters */
};

struct conf_lexeme {
	enum conf_token token;
	unsigned line, column;
	bool quoted;
	char problem[80]; /* CONF_BAD; the rest of the line is skipped then */
};

void conf_lex_init(struct conf_lexer *x, struct view text);
/* The next token; the text of a word replaces what was in `word` (limit CONF_WORD_MAX). */
void conf_lex(struct conf_lexer *x, struct buf *word, struct conf_lexeme *out);
/* Appends v so that it is read back as one word, quoted where it must be. */
void conf_lex_quote(struct buf *out, struct view v);

#endif
