/* SPDX-License-Identifier: ISC */
/* Results of a run, as text or as one line of JSON. */
#include "bench/source.h"

#include <sys/resource.h>

static const char *const error_name[SOURCE_ERR_MAX] = {
    [SOURCE_ERR_CONNECT] = "connect",
    [SOURCE_ERR_TLS] = "tls",
    [SOURCE_ERR_LOST] = "lost",
    [SOURCE_ERR_PROTOCOL] = "protocol",
};

static double
seconds(const struct timeval *tv)
{
	return (double)tv->tv_sec + (double)tv->tv_usec / 1e6;
}

static double
elapsed(const struct source *src)
{
	return src->t_last > src->t_first ? (double)(src->t_last - src->t_first) / 1e9 : 0;
}

static double
rate(const struct source *src)
{
	double s = elapsed(src);

	return s > 0 ? (double)src->accepted / s : 0;
}

static void
errors_print(const struct source *src, bool json, FILE *fp)
{
	const char *sep = "";
	int i;

	for (i = 0; i < 1000; i++) {
		if (src->reply_errors[i] == 0)
			continue;
		fprintf(fp, json ? "%s\"%03d\":%llu" : "%s%03d x %llu", sep, i,
		    (unsigned long long)src->reply_errors[i]);
		sep = json ? "," : ", ";
	}
	for (i = 0; i < SOURCE_ERR_MAX; i++) {
		if (src->errors[i] == 0)
			continue;
		fprintf(fp, json ? "%s\"%s\":%llu" : "%s%s x %llu", sep, error_name[i],
		    (unsigned long long)src->errors[i]);
		sep = json ? "," : ", ";
	}
}

static void
report_json(const struct source *src, const struct rusage *ru, FILE *fp)
{
	fprintf(fp,
	    "{\"messages\":%llu,\"accepted\":%llu,\"failed\":%llu,\"recipients\":%llu,"
	    "\"connections\":%llu,\"handshakes\":%llu,\"resumed\":%llu,\"bytes\":%llu,",
	    (unsigned long long)src->opt.messages, (unsigned long long)src->accepted,
	    (unsigned long long)src->failed, (unsigned long long)src->recipients_ok,
	    (unsigned long long)src->connections, (unsigned long long)src->handshakes,
	    (unsigned long long)src->resumed, (unsigned long long)src->bytes);
	fprintf(fp,
	    "\"t_first\":%.6f,\"t_last\":%.6f,\"seconds\":%.6f,\"rate\":%.1f,"
	    "\"cpu_user\":%.6f,\"cpu_sys\":%.6f,\"errors\":{",
	    (double)src->t_first / 1e9, (double)src->t_last / 1e9, elapsed(src), rate(src),
	    seconds(&ru->ru_utime), seconds(&ru->ru_stime));
	errors_print(src, true, fp);
	fprintf(fp, "},\"run_id\":\"%s\",\"latency_us\":{", src->run_id);
	hist_print(&src->banner, "banner", true, fp);
	fputc(',', fp);
	hist_print(&src->transaction, "transaction", true, fp);
	fputc(',', fp);
	hist_print(&src->end_of_data, "end_of_data", true, fp);
	fputs("}}\n", fp);
}

static void
report_text(const struct source *src, const struct rusage *ru, FILE *fp)
{
	fprintf(fp,
	    "%llu of %llu accepted (%llu recipients, %llu failed) in %.3f s: %.1f messages/s\n",
	    (unsigned long long)src->accepted, (unsigned long long)src->opt.messages,
	    (unsigned long long)src->recipients_ok, (unsigned long long)src->failed, elapsed(src),
	    rate(src));
	fprintf(fp, "%llu connections, %llu TLS handshakes (%llu resumed), %llu bytes of content\n",
	    (unsigned long long)src->connections, (unsigned long long)src->handshakes,
	    (unsigned long long)src->resumed, (unsigned long long)src->bytes);
	fputs("errors: ", fp);
	errors_print(src, false, fp);
	fputc('\n', fp);
	hist_print(&src->banner, "connect..banner", false, fp);
	hist_print(&src->transaction, "transaction", false, fp);
	hist_print(&src->end_of_data, "end of data", false, fp);
	fprintf(fp, "own CPU: %.3f s user, %.3f s system\n", seconds(&ru->ru_utime),
	    seconds(&ru->ru_stime));
}

void
source_report(const struct source *src, FILE *fp)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	if (src->opt.json)
		report_json(src, &ru, fp);
	else
		report_text(src, &ru, fp);
	fflush(fp);
}
