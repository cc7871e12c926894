/*
 * The file that says what the device is. One thing a line, words apart by one
 * blank, texts to the end of the line, numbers decimal or 0x-hexadecimal:
 *
 *     sealkeeper-simulator 1          first line
 *     behind PATH                     the SM2 test module
 *     library_manufacturer TEXT       and library_description, token_manufacturer, token_model
 *     library_version MAJOR MINOR     and firmware
 *     user_type N                     the CKU_ value a login wants
 *     max_sessions N                  0 = as many as there are
 *     max_frame N                     bytes of one call
 *     sm2_keygen KEYTYPE MECHANISM omit|oid omit|required
 *     sm2_attributes BITS VALUE X Y   the vendor's attributes, 0 = none
 *     sm2_sign MECHANISM INPUT FORM
 *     ecpoint FORM
 *     standard N                      a mechanism passed on as it is
 *     listed N                        a mechanism that is listed and does nothing
 *     unreadable N                    an attribute the token does not report
 *     refused N                       an attribute no template may have
 */
#include "simulator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct device device;

static const char *const inputs[] = {"e32", "hash-noz", "hash-z-default", "hash-z-param", NULL};
static const char *const forms[] = {"raw64", "der", "der-lenient", "raw128", NULL};
static const char *const points[] = {"der-octet", "raw65", "raw64", "der-bit", "xy", NULL};
static const char *const no_yes_oid[] = {"omit", "oid", NULL};
static const char *const no_yes_type[] = {"omit", "required", NULL};

/* Takes the next word off the line; NULL at its end. */
static char *word(char **at)
{
	char *w = *at, *blank;

	if (w == NULL || *w == '\0')
		return NULL;
	blank = strchr(w, ' ');
	if (blank != NULL)
		*blank = '\0';
	*at = blank == NULL ? NULL : blank + 1;
	return w;
}

static bool number(char **at, CK_ULONG *out)
{
	char *w = word(at), *end;

	if (w == NULL || *w < '0' || *w > '9')
		return false;
	*out = strtoul(w, &end, 0);
	return *end == '\0' && *out <= 0xffffffffUL;
}

static bool choice(char **at, const char *const *names, int *out)
{
	char *w = word(at);

	for (int i = 0; w != NULL && names[i] != NULL; i++)
		if (strcmp(w, names[i]) == 0) {
			*out = i;
			return true;
		}
	return false;
}

static bool text(char **at, char *out, size_t size)
{
	if (*at == NULL || strlen(*at) >= size)
		return false;
	strcpy(out, *at);
	*at = NULL;
	return true;
}

static bool version(char **at, CK_VERSION *out)
{
	CK_ULONG major, minor;

	if (!number(at, &major) || !number(at, &minor) || major > 255 || minor > 255)
		return false;
	*out = (CK_VERSION){(CK_BYTE)major, (CK_BYTE)minor};
	return true;
}

static bool add(char **at, struct list *l)
{
	return l->count < LIST_MAX && number(at, &l->value[l->count++]);
}

static bool read_keygen(char **at)
{
	int params, type;

	if (!number(at, &device.key_type) || !number(at, &device.key_pair_gen) || !choice(at, no_yes_oid, &params) ||
	    !choice(at, no_yes_type, &type))
		return false;
	device.params_in_template = params == 1;
	device.type_in_template = type == 1;
	return true;
}

static bool read_sign(char **at)
{
	struct sign_mechanism *m = &device.sign[device.sign_count];
	int input, form;

	if (device.sign_count == LIST_MAX || !number(at, &m->type) || !choice(at, inputs, &input) || !choice(at, forms, &form))
		return false;
	m->input = (enum input)input;
	m->form = (enum form)form;
	device.sign_count++;
	return true;
}

static bool read_point(char **at)
{
	int point;

	if (!choice(at, points, &point))
		return false;
	device.point = (enum point)point;
	return true;
}

static bool read_attributes(char **at)
{
	return number(at, &device.bits) && number(at, &device.value) && number(at, &device.x) && number(at, &device.y);
}

static bool read_line(char *key, char **at)
{
	struct device *d = &device;

	if (strcmp(key, "behind") == 0)
		return text(at, d->behind, sizeof d->behind);
	if (strcmp(key, "library_manufacturer") == 0)
		return text(at, d->library_manufacturer, sizeof d->library_manufacturer);
	if (strcmp(key, "library_description") == 0)
		return text(at, d->library_description, sizeof d->library_description);
	if (strcmp(key, "token_manufacturer") == 0)
		return text(at, d->token_manufacturer, sizeof d->token_manufacturer);
	if (strcmp(key, "token_model") == 0)
		return text(at, d->token_model, sizeof d->token_model);
	if (strcmp(key, "library_version") == 0)
		return version(at, &d->library_version);
	if (strcmp(key, "firmware") == 0)
		return version(at, &d->firmware);
	if (strcmp(key, "user_type") == 0)
		return number(at, &d->user_type);
	if (strcmp(key, "max_sessions") == 0)
		return number(at, &d->max_sessions);
	if (strcmp(key, "max_frame") == 0)
		return number(at, &d->max_frame);
	if (strcmp(key, "sm2_keygen") == 0)
		return read_keygen(at);
	if (strcmp(key, "sm2_attributes") == 0)
		return read_attributes(at);
	if (strcmp(key, "sm2_sign") == 0)
		return read_sign(at);
	if (strcmp(key, "ecpoint") == 0)
		return read_point(at);
	if (strcmp(key, "standard") == 0)
		return add(at, &d->standard);
	if (strcmp(key, "listed") == 0)
		return add(at, &d->listed);
	if (strcmp(key, "unreadable") == 0)
		return add(at, &d->unreadable);
	if (strcmp(key, "refused") == 0)
		return add(at, &d->refused);
	return false;
}

/* A device that does not call itself simulated could be taken for the real one. */
static bool says_so(void)
{
	return strstr(device.library_manufacturer, "simulated") != NULL || strstr(device.library_description, "simulated") != NULL;
}

bool device_read(const char *path, char *error, size_t size)
{
	char line[1024];
	FILE *f = fopen(path, "r");
	int n = 0;
	bool good = f != NULL;

	memset(&device, 0, sizeof device);
	device.user_type = CKU_USER;
	if (f == NULL)
		snprintf(error, size, "%s cannot be read", path);
	while (good && fgets(line, sizeof line, f) != NULL) {
		char *at = line, *key;

		n++;
		line[strcspn(line, "\n")] = '\0';
		key = word(&at);
		if (n == 1)
			good = key != NULL && strcmp(key, "sealkeeper-simulator") == 0 && at != NULL && strcmp(at, "1") == 0;
		else
			good = key != NULL && read_line(key, &at) && at == NULL;
		if (!good)
			snprintf(error, size, "%s: line %d is not understood", path, n);
	}
	if (good && (!says_so() || device.behind[0] == '\0')) {
		snprintf(error, size, "%s: the library must call itself simulated and name the module behind it", path);
		good = false;
	}
	if (f != NULL)
		fclose(f);
	return good;
}
