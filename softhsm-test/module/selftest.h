/* What the parts of the self-test share. */
#ifndef SEALKEEPER_SELFTEST_H
#define SEALKEEPER_SELFTEST_H

#include "module.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

extern CK_FUNCTION_LIST_PTR p11;
extern CK_SLOT_ID slot;
extern CK_SESSION_HANDLE session; /* logged in */
extern atomic_int failures;
extern CK_BBOOL yes, no;

void check(int good, const char *what, int line);
void expect_code(CK_RV got, CK_RV want, const char *what, int line);

#define CHECK(cond) check((cond), #cond, __LINE__)
#define EXPECT(want, call) expect_code((call), (want), #call, __LINE__)

void open_module(const char *path);
void start(void);
void generate(CK_BBOOL token, CK_BBOOL extractable, CK_OBJECT_HANDLE *pub, CK_OBJECT_HANDLE *priv);
CK_OBJECT_HANDLE wrapping_key(void);
CK_ULONG wrap(CK_OBJECT_HANDLE kek, CK_OBJECT_HANDLE key, CK_BYTE *blob, CK_ULONG size);
CK_RV unwrap(CK_OBJECT_HANDLE kek, CK_BYTE *blob, CK_ULONG len, CK_OBJECT_HANDLE *key);

void test_attributes(void);
void test_arguments(void);
void test_lengths(void);
void test_searches(void);
void test_blobs(void);
void test_pkcs8(void);
void test_threads(void);
void test_restart(void);

#endif
