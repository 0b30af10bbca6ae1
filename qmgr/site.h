/* SPDX-License-Identifier: ISC */
/*
 * What connections go to: the MX set of a domain. Domains whose sets are the same share one site, and with it lanes,
 * connections and limits. A domain that DNS says nothing good of is a site of its own, without hosts: smtp looks it
 * up itself and words what is wrong.
 */
#ifndef EKIDEN_QMGR_SITE_H
#define EKIDEN_QMGR_SITE_H

#include "qmgr/qmgr.h"

enum { SITE_HOSTS_MAX = 16, SITE_BYTES_MAX = 8192, SITE_NAME_MAX = 280 };

enum site_state {
	SITE_RESOLVING, /* of one domain, until DNS answers: nothing is sent */
	SITE_OWN,	/* of one domain that has no hosts that we know */
	SITE_KNOWN
};

struct site {
	struct table_node node; /* in qmgr.sites */
	struct link lanes;	/* by site_link */
	uint32_t refs;		/* lanes, and domains */
	enum site_state state;
	bool secure, implicit; /* as the last answer said */
	char *hosts;	       /* mx_host records of the last answer, the preferred ones */
	size_t hosts_bytes;
	const struct group *group; /* that an MX pattern says; NULL: none */
	char *key;		   /* identity */
	char name[SITE_NAME_MAX + 1]; /* for people: "mx1.example.jp+2", or the domain */
};

/*
 * Pure. From the mx_host records of an answer: `kept` the records to connect by, `key` the hosts in order of
 * preference, those of equal preference sorted ("a=b>c"), `name` the best one and how many more there are. The limits
 * of these are SITE_BYTES_MAX and SITE_NAME_MAX. false: no host.
 */
bool site_describe(struct view hosts, struct buf *kept, struct buf *key, struct buf *name);

/* The site of these hosts, with a reference; its hosts are those of this answer from now on. NULL: no host. */
struct site *site_of_answer(struct qmgr *q, const struct ipc_mx_answer *m);
/* The domain's own, with a reference. */
struct site *site_of_domain(struct qmgr *q, struct view domain, enum site_state state);
struct site *site_ref(struct site *s);
void site_unref(struct qmgr *q, struct site *s);
/* New settings: groups are found anew. */
void sites_rebind(struct qmgr *q);

#endif
