/*
 * A PKCS#11 module for tests that stands in front of any other and breaks
 * things by script. README.md describes the script.
 */
#ifndef SEALKEEPER_FAULT_H
#define SEALKEEPER_FAULT_H

#include <p11-kit/pkcs11.h>

#include <stdbool.h>
#include <stddef.h>

#define RULES_MAX 32
#define FUNCTIONS_MAX 8 /* named in one rule */
#define NAME_MAX_LEN 32
#define SERIAL_LEN 16 /* of CK_TOKEN_INFO, blank padded */

enum action {
	ACTION_NONE,
	ACTION_RETURN,        /* answer value, call nothing */
	ACTION_AFTER,         /* make the call, then answer value */
	ACTION_CLOSE_SESSION, /* close the session first */
	ACTION_CLOSE_ALL,     /* close every session of the slot first */
	ACTION_LOGOUT,        /* log the session out first */
	ACTION_ABSENT,        /* the token is not there */
	ACTION_SERIAL,        /* another token is there: of serial */
	ACTION_TYPED,         /* C_Login without a PIN: this one is typed at the device */
	ACTION_FLAGS,         /* C_GetTokenInfo: these flags as well */
	ACTION_DELAY,         /* value milliseconds first */
	ACTION_HANG,          /* wait until the script changes */
	ACTION_CORRUPT,       /* C_Sign, C_SignFinal: one bit of the answer is wrong */
	ACTION_CRASH,         /* a signal ends the process */
};

struct rule {
	char functions[FUNCTIONS_MAX][NAME_MAX_LEN]; /* "*" is every call that concerns a token */
	size_t function_count;
	char on[SERIAL_LEN + 1]; /* only this token; empty is every token */
	unsigned long skip;      /* matching calls to let pass first */
	unsigned long times;     /* calls to strike; 0 is all */
	enum action action;
	unsigned long value;
	char serial[SERIAL_LEN + 1];

	unsigned long seen, struck;
	bool vacated; /* sessions of the removed token were closed */
};

/* What a call is about. A library call concerns no token. */
enum about { ABOUT_LIBRARY, ABOUT_SLOT, ABOUT_SESSION };

struct call {
	const char *name;
	enum about about;
	unsigned long handle; /* slot or session */
};

extern CK_FUNCTION_LIST_PTR inner;

/* Held for reading in calls to the module underneath, for writing while sessions
 * are taken from it: SoftHSM2 crashes when a session is closed that another
 * thread is signing in, and that is not the fault to be shown. */
void inside_shared(void);
void inside_alone(void);
void inside_leave(void);

/* script.c */
bool script_parse(const char *text, struct rule *rules, size_t *count, char *error, size_t error_len);
bool script_strike(const struct call *call, struct rule *struck);
bool script_absent(CK_SLOT_ID slot);
void script_wait_change(void);
void script_log(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool slot_has_serial(CK_SLOT_ID slot, const char *serial);

/* calls.c */
void calls_replace(CK_FUNCTION_LIST *table);

/* fault.c */
CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list);

#endif
