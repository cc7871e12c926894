/*
 * Initialises the first free slot of SoftHSM2 (SOFTHSM2_CONF names the
 * configuration) and prints the new token's serial number.
 *
 *     sealkeeper-tokeninit LABEL SO-PIN-FILE PIN-FILE
 *
 * softhsm2-util takes PINs as arguments, which every process on the machine
 * can read; this program takes the names of files.
 */
#include <p11-kit/pkcs11.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_LIBRARY "/usr/lib/softhsm/libsofthsm2.so"
#define PIN_MAX 255

struct pin {
	unsigned char text[PIN_MAX + 2];
	CK_ULONG len;
};

static CK_FUNCTION_LIST_PTR p11;

static int complain(const char *act, CK_RV rv)
{
	fprintf(stderr, "sealkeeper-tokeninit: %s: CKR 0x%lx\n", act, rv);
	return 1;
}

static int read_pin(const char *path, struct pin *pin)
{
	FILE *f = fopen(path, "r");

	if (f == NULL) {
		perror(path);
		return 1;
	}
	pin->len = fread(pin->text, 1, sizeof pin->text, f);
	fclose(f);
	while (pin->len > 0 && (pin->text[pin->len - 1] == '\n' || pin->text[pin->len - 1] == '\r'))
		pin->len--;
	if (pin->len < 4 || pin->len > PIN_MAX) {
		fprintf(stderr, "sealkeeper-tokeninit: %s: a PIN has 4 to %d characters\n", path, PIN_MAX);
		return 1;
	}
	return 0;
}

static int load(void)
{
	const char *path = getenv("SOFTHSM2_LIB");
	CK_C_GetFunctionList get;
	void *library;

	if (path == NULL || *path == '\0')
		path = DEFAULT_LIBRARY;
	library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (library == NULL) {
		fprintf(stderr, "sealkeeper-tokeninit: loading SoftHSM2: %s\n", dlerror());
		return 1;
	}
	get = (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList");
	if (get == NULL || get(&p11) != CKR_OK) {
		fprintf(stderr, "sealkeeper-tokeninit: %s gives no PKCS#11 function list\n", path);
		return 1;
	}
	return 0;
}

/* The one slot SoftHSM2 always lists with a token not yet initialised. */
static CK_RV free_slot(CK_SLOT_ID *slot)
{
	CK_SLOT_ID list[4096];
	CK_ULONG count = sizeof list / sizeof list[0];
	CK_TOKEN_INFO info;
	CK_RV rv = p11->C_GetSlotList(CK_TRUE, list, &count);

	for (CK_ULONG i = 0; rv == CKR_OK && i < count; i++) {
		if (p11->C_GetTokenInfo(list[i], &info) == CKR_OK && !(info.flags & CKF_TOKEN_INITIALIZED)) {
			*slot = list[i];
			return CKR_OK;
		}
	}
	return rv != CKR_OK ? rv : CKR_TOKEN_NOT_PRESENT;
}

static int initialise(const char *label, struct pin *so, struct pin *user)
{
	unsigned char name[32];
	CK_SESSION_HANDLE session;
	CK_TOKEN_INFO info;
	CK_SLOT_ID slot;
	CK_RV rv;

	memset(name, ' ', sizeof name);
	memcpy(name, label, strlen(label));
	if ((rv = free_slot(&slot)) != CKR_OK)
		return complain("finding a free slot", rv);
	if ((rv = p11->C_InitToken(slot, so->text, so->len, name)) != CKR_OK)
		return complain("initialising the token", rv);
	if ((rv = p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session)) != CKR_OK)
		return complain("opening a session", rv);
	if ((rv = p11->C_Login(session, CKU_SO, so->text, so->len)) != CKR_OK)
		return complain("logging the security officer in", rv);
	if ((rv = p11->C_InitPIN(session, user->text, user->len)) != CKR_OK)
		return complain("setting the user PIN", rv);
	if ((rv = p11->C_GetTokenInfo(slot, &info)) != CKR_OK)
		return complain("reading the token's serial number", rv);
	printf("%.16s\n", (const char *)info.serialNumber);
	return 0;
}

int main(int argc, char **argv)
{
	struct pin so, user;
	CK_RV rv;
	int status;

	if (argc != 4 || argv[1][0] == '\0' || strlen(argv[1]) > 32) {
		fprintf(stderr, "usage: sealkeeper-tokeninit LABEL SO-PIN-FILE PIN-FILE\n"
				"the label has 1 to 32 bytes; SOFTHSM2_CONF names the configuration\n");
		return 2;
	}
	if (read_pin(argv[2], &so) != 0 || read_pin(argv[3], &user) != 0 || load() != 0)
		return 1;
	if ((rv = p11->C_Initialize(NULL)) != CKR_OK)
		return complain("starting SoftHSM2", rv);
	status = initialise(argv[1], &so, &user);
	if ((rv = p11->C_Finalize(NULL)) != CKR_OK && status == 0)
		status = complain("closing SoftHSM2", rv);
	return status;
}
