/* SPDX-License-Identifier: ISC */
/* Doubly linked lists through a struct link in the element; a head is a link to itself. */
#ifndef EKIDEN_QMGR_LIST_H
#define EKIDEN_QMGR_LIST_H

#include "qmgr/qmgr.h"

static inline void
list_init(struct link *head)
{
	head->next = head->prev = head;
}
static inline bool
list_empty(const struct link *head)
{
	return head->next == head;
}
/* An element that is in no list has a NULL link. */
static inline bool
link_in(const struct link *l)
{
	return l->next != NULL;
}
static inline void
list_put(struct link *head, struct link *l)
{
	l->prev = head->prev;
	l->next = head;
	l->prev->next = l;
	head->prev = l;
}
static inline void
list_put_front(struct link *head, struct link *l)
{
	list_put(head->next, l);
}
static inline void
link_cut(struct link *l)
{
	if (l->next == NULL)
		return;
	l->prev->next = l->next;
	l->next->prev = l->prev;
	l->next = l->prev = NULL;
}
/* `next` is read before the body runs: it may cut or free the element. */
#define LIST_EACH(head, l, after)                                                                  \
	for (struct link *l = (head)->next, *after; after = (l)->next, (l) != (head); l = after)

#endif
