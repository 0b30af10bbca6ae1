/* SPDX-License-Identifier: ISC */
#include <time.h>

#include "smtpd/future.h"

enum { INTERVAL_DIGITS = 9, US = 1000000 };

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* So many digits from the front of *v; the number is between min and max. */
static bool
take_number(struct view *v, size_t digits, int min, int max, int *out)
{
	int x = 0;

	if (v->n < digits)
		return false;
	for (size_t i = 0; i < digits; i++) {
		if (!is_digit(v->p[i]))
			return false;
		x = x * 10 + (v->p[i] - '0');
	}
	*v = view_skip(*v, digits);
	*out = x;
	return x >= min && x <= max;
}

/* This character, in either case. */
static bool
take_char(struct view *v, char c)
{
	if (v->n == 0 || (v->p[0] != c && v->p[0] != (c | 0x20)))
		return false;
	*v = view_skip(*v, 1);
	return true;
}

/* ["." 1*DIGIT]: microseconds; what is finer is dropped. */
static bool
take_fraction(struct view *v, uint64_t *us)
{
	uint64_t unit = US / 10;

	*us = 0;
	if (!take_char(v, '.'))
		return true;
	if (v->n == 0 || !is_digit(v->p[0]))
		return false;
	for (; v->n && is_digit(v->p[0]); *v = view_skip(*v, 1), unit /= 10)
		*us += unit * (uint64_t)(v->p[0] - '0');
	return true;
}

/* "Z", or how far the local time is ahead of UTC. */
static bool
take_offset(struct view *v, int *seconds)
{
	int hours, minutes, sign = take_char(v, '+') ? 1 : -1;

	*seconds = 0;
	if (sign < 0 && take_char(v, 'Z'))
		return true;
	if (sign < 0 && !take_char(v, '-'))
		return false;
	if (!take_number(v, 2, 0, 23, &hours) || !take_char(v, ':') || !take_number(v, 2, 0, 59, &minutes))
		return false;
	*seconds = sign * (hours * 3600 + minutes * 60);
	return true;
}

static int
days_of(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap);
}

static bool
take_date(struct view *v, struct tm *tm)
{
	int year, month;

	if (!take_number(v, 4, 1970, 9999, &year) || !take_char(v, '-') ||
	    !take_number(v, 2, 1, 12, &month) || !take_char(v, '-') ||
	    !take_number(v, 2, 1, days_of(year, month), &tm->tm_mday))
		return false;
	tm->tm_year = year - 1900;
	tm->tm_mon = month - 1;
	return true;
}

bool
future_interval(struct view v, uint64_t *seconds)
{
	return v.n > 0 && v.n <= INTERVAL_DIGITS && v.p[0] != '0' && view_u64(v, UINT32_MAX, seconds);
}

bool
future_time(struct view v, uint64_t *wall_us)
{
	struct tm tm = { 0 };
	uint64_t us;
	int offset;

	if (!take_date(&v, &tm) || !take_char(&v, 'T') || !take_number(&v, 2, 0, 23, &tm.tm_hour) ||
	    !take_char(&v, ':') || !take_number(&v, 2, 0, 59, &tm.tm_min) || !take_char(&v, ':') ||
	    !take_number(&v, 2, 0, 60, &tm.tm_sec) || !take_fraction(&v, &us) ||
	    !take_offset(&v, &offset) || v.n)
		return false;
	time_t t = timegm(&tm) - offset;
	if (t < 0)
		return false;
	*wall_us = (uint64_t)t * US + us;
	return true;
}

const char *
future_time_text(uint64_t wall_us, char out[static FUTURE_TIME_CHARS + 1])
{
	time_t t = (time_t)(wall_us / US);
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(out, FUTURE_TIME_CHARS + 1, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return out;
}

bool
priority_value(struct view v, int *priority)
{
	bool minus = take_char(&v, '-');

	if (v.n != 1 || !is_digit(v.p[0]) || (minus && v.p[0] == '0'))
		return false;
	*priority = (v.p[0] - '0') * (minus ? -1 : 1);
	return true;
}
