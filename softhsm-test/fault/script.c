/*
 * The script: read again whenever its file has changed. Counts of skip and
 * times start anew then.
 */
#include "fault.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SCRIPT_MAX 8192

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct rule rules[RULES_MAX];
static size_t rule_count;
static bool bad_script; /* every call fails: a mistake in a test must show */
static struct stat seen;
static unsigned long generation;

static const char *control(void)
{
	const char *path = getenv("SEALKEEPER_FAULT_CONTROL");

	return path == NULL ? "" : path;
}

void script_log(const char *format, ...)
{
	char path[4096], line[256];
	va_list args;
	int fd, n;

	if (*control() == '\0')
		return;
	snprintf(path, sizeof(path), "%s.log", control());
	va_start(args, format);
	n = vsnprintf(line, sizeof(line) - 1, format, args);
	va_end(args);
	if (n < 0)
		return;
	if ((size_t)n > sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n++] = '\n';
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	if (write(fd, line, (size_t)n) != n)
		fprintf(stderr, "sealkeeper-fault: writing %s: %s\n", path, strerror(errno));
	close(fd);
}

static bool number(const char *text, unsigned long *value)
{
	char *end;

	if (text == NULL || *text == '\0' || *text == '-')
		return false;
	errno = 0;
	*value = strtoul(text, &end, 0);
	return *end == '\0' && errno == 0;
}

static bool text(const char *from, char *to, size_t size)
{
	if (from == NULL || *from == '\0' || strlen(from) >= size)
		return false;
	memcpy(to, from, strlen(from) + 1);
	return true;
}

static const struct {
	const char *name;
	enum action action;
	bool has_value;
} actions[] = {
	{ "return", ACTION_RETURN, true },          { "after", ACTION_AFTER, true },
	{ "close-session", ACTION_CLOSE_SESSION, false },
	{ "close-all", ACTION_CLOSE_ALL, false },   { "logout", ACTION_LOGOUT, false },
	{ "absent", ACTION_ABSENT, false },         { "serial", ACTION_SERIAL, true },
	{ "typed", ACTION_TYPED, true },
	{ "flags", ACTION_FLAGS, true },            { "delay", ACTION_DELAY, true },
	{ "hang", ACTION_HANG, false },             { "corrupt", ACTION_CORRUPT, false },
	{ "crash", ACTION_CRASH, false },
};

/* One word behind the functions: a condition or the action. */
static bool parse_word(struct rule *r, char *word)
{
	char *value = strchr(word, '=');

	if (value != NULL)
		*value++ = '\0';
	if (strcmp(word, "on") == 0)
		return text(value, r->on, sizeof(r->on));
	if (strcmp(word, "skip") == 0)
		return number(value, &r->skip);
	if (strcmp(word, "times") == 0)
		return number(value, &r->times);
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
		if (strcmp(word, actions[i].name) != 0)
			continue;
		if (r->action != ACTION_NONE || actions[i].has_value != (value != NULL))
			return false;
		r->action = actions[i].action;
		if (r->action == ACTION_SERIAL || r->action == ACTION_TYPED)
			return text(value, r->serial, sizeof(r->serial));
		return value == NULL || number(value, &r->value);
	}
	return false;
}

static bool parse_line(char *line, struct rule *r)
{
	char *rest = NULL, *inside = NULL;
	char *names = strtok_r(line, " \t\r", &rest);

	memset(r, 0, sizeof(*r));
	for (char *n = strtok_r(names, ",", &inside); n != NULL; n = strtok_r(NULL, ",", &inside)) {
		if (r->function_count == FUNCTIONS_MAX || (strcmp(n, "*") != 0 && strncmp(n, "C_", 2) != 0) ||
		    !text(n, r->functions[r->function_count++], NAME_MAX_LEN))
			return false;
	}
	for (char *w = strtok_r(NULL, " \t\r", &rest); w != NULL; w = strtok_r(NULL, " \t\r", &rest)) {
		if (!parse_word(r, w))
			return false;
	}
	if (r->action == ACTION_CORRUPT) {
		for (size_t i = 0; i < r->function_count; i++)
			if (strcmp(r->functions[i], "C_Sign") != 0 && strcmp(r->functions[i], "C_SignFinal") != 0)
				return false;
	}
	return r->function_count > 0 && r->action != ACTION_NONE;
}

/* Reads a whole script, or names the first line that it cannot. */
bool script_parse(const char *from, struct rule *to, size_t *count, char *error, size_t error_len)
{
	size_t line_no = 0, n = 0;

	while (*from != '\0') {
		char line[512];
		size_t len = strcspn(from, "\n");
		const char *begin = from;

		from += len + (from[len] == '\n');
		line_no++;
		if (len >= sizeof(line)) {
			snprintf(error, error_len, "line %zu is too long", line_no);
			return false;
		}
		memcpy(line, begin, len);
		line[len] = '\0';
		line[strcspn(line, "#")] = '\0';
		if (line[strspn(line, " \t\r")] == '\0')
			continue;
		if (n == RULES_MAX || !parse_line(line, &to[n])) {
			snprintf(error, error_len, "line %zu is no rule", line_no);
			return false;
		}
		n++;
	}
	*count = n;
	return true;
}

static bool read_file(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "re");
	size_t n;

	if (f == NULL)
		return false;
	n = fread(buf, 1, size - 1, f);
	buf[n] = '\0';
	fclose(f);
	return n < size - 1;
}

/* Reads the script again if its file is another one. The lock is held. */
static void refresh(void)
{
	char buf[SCRIPT_MAX], error[64] = "is too long or cannot be read";
	struct stat now;

	if (stat(control(), &now) != 0)
		memset(&now, 0, sizeof(now));
	if (now.st_ino == seen.st_ino && now.st_size == seen.st_size && now.st_mtim.tv_sec == seen.st_mtim.tv_sec &&
	    now.st_mtim.tv_nsec == seen.st_mtim.tv_nsec)
		return;
	seen = now;
	generation++;
	rule_count = 0;
	bad_script = false;
	if (now.st_ino == 0)
		return;
	if (!read_file(control(), buf, sizeof(buf)) || !script_parse(buf, rules, &rule_count, error, sizeof(error))) {
		rule_count = 0;
		bad_script = true;
		fprintf(stderr, "sealkeeper-fault: script %s: %s\n", control(), error);
	}
}

bool slot_has_serial(CK_SLOT_ID slot, const char *serial)
{
	CK_TOKEN_INFO info;
	char padded[SERIAL_LEN + 1];

	CK_RV rv;

	inside_shared();
	rv = inner->C_GetTokenInfo(slot, &info);
	inside_leave();
	if (rv != CKR_OK)
		return false;
	snprintf(padded, sizeof(padded), "%-16s", serial);
	return memcmp(padded, info.serialNumber, SERIAL_LEN) == 0;
}

/* The slot a call is about; false if there is none. */
static bool slot_of(const struct call *c, CK_SLOT_ID *slot)
{
	CK_SESSION_INFO info;
	CK_RV rv;

	if (c->about == ABOUT_SLOT) {
		*slot = c->handle;
		return true;
	}
	if (c->about != ABOUT_SESSION)
		return false;
	inside_shared();
	rv = inner->C_GetSessionInfo(c->handle, &info);
	inside_leave();
	if (rv != CKR_OK)
		return false;
	*slot = info.slotID;
	return true;
}

static bool matches(const struct rule *r, const struct call *c)
{
	CK_SLOT_ID slot;
	bool named = false;

	for (size_t i = 0; i < r->function_count && !named; i++)
		named = strcmp(r->functions[i], c->name) == 0 || (strcmp(r->functions[i], "*") == 0 && c->about != ABOUT_LIBRARY);
	if (!named || (r->times != 0 && r->struck >= r->times))
		return false;
	return r->on[0] == '\0' || (slot_of(c, &slot) && slot_has_serial(slot, r->on));
}

/* A token that goes takes its sessions along, and its successor has none. */
static void vacate(struct rule *r, const struct call *c)
{
	CK_SLOT_ID slot;

	if ((r->action != ACTION_ABSENT && r->action != ACTION_SERIAL) || r->vacated || !slot_of(c, &slot))
		return;
	r->vacated = true;
	inside_alone();
	inner->C_CloseAllSessions(slot);
	inside_leave();
}

/* Tells whether a call is struck, and by which rule: the first that fits. */
bool script_strike(const struct call *c, struct rule *struck)
{
	bool hit = false;

	pthread_mutex_lock(&lock);
	refresh();
	if (bad_script) {
		memset(struck, 0, sizeof(*struck));
		struck->action = ACTION_RETURN;
		struck->value = CKR_GENERAL_ERROR;
		hit = true;
	}
	for (size_t i = 0; i < rule_count && !hit; i++) {
		if (!matches(&rules[i], c) || rules[i].seen++ < rules[i].skip)
			continue;
		rules[i].struck++;
		vacate(&rules[i], c);
		*struck = rules[i];
		hit = true;
	}
	pthread_mutex_unlock(&lock);
	return hit;
}

/* Tells whether a rule keeps the token of a slot out of sight. */
bool script_absent(CK_SLOT_ID slot)
{
	bool absent = false;

	pthread_mutex_lock(&lock);
	refresh();
	for (size_t i = 0; i < rule_count; i++) {
		if (rules[i].action != ACTION_ABSENT || (rules[i].on[0] != '\0' && !slot_has_serial(slot, rules[i].on)))
			continue;
		vacate(&rules[i], &(struct call){ "C_GetSlotList", ABOUT_SLOT, slot });
		absent = true;
	}
	pthread_mutex_unlock(&lock);
	return absent;
}

/* Returns when the script is another one than when it was called. */
void script_wait_change(void)
{
	struct timespec pause = { 0, 2000000 };
	unsigned long before = 0;
	bool first = true, changed;

	do {
		if (!first)
			nanosleep(&pause, NULL);
		pthread_mutex_lock(&lock);
		if (first)
			before = generation;
		first = false;
		refresh();
		changed = generation != before;
		pthread_mutex_unlock(&lock);
	} while (!changed);
}
