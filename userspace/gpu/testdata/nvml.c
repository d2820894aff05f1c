/* Stands in for libnvidia-ml.so.1 after NVML's documentation (docs.nvidia.com/deploy/nvml-api): three devices, of which
 * one is divided into instances and one has fallen off the bus. NVML_FAULT makes it fail: "driver", "hang". */

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { OK = 0, ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, SIZE = 7, NO_DRIVER = 9, LOST = 15, UNKNOWN = 999 };
/* Handles: the plain device, the divided one, its instances. */
enum { PLAIN = 1, DIVIDED = 2, FIRST = 11, SECOND = 13 };

typedef size_t device;
typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; } pci;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory;
typedef struct { unsigned gpu, memory; } rates;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } process;
typedef struct { unsigned pid; unsigned long long time; unsigned sm, memory, encoder, decoder; } sample;

static int fails(const char *how) {
    const char *fault = getenv("NVML_FAULT");
    return fault && !strcmp(fault, how);
}

static unsigned worker(void) {
    const char *pid = getenv("NVML_PID");
    return pid ? (unsigned)atoi(pid) : (unsigned)getpid();
}

static int text(char *to, unsigned size, const char *from) {
    if (strlen(from) >= size) return SIZE;
    strcpy(to, from);
    return OK;
}

int nvmlInit_v2(void) { return fails("driver") ? NO_DRIVER : OK; }
int nvmlShutdown(void) { return OK; }
int nvmlSystemGetDriverVersion(char *to, unsigned size) { return text(to, size, "550.54.15"); }

int nvmlDeviceGetCount_v2(unsigned *count) {
    if (fails("hang")) sleep(3600);
    *count = 3;
    return OK;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device *to) {
    if (index == 2) return LOST;
    *to = index + 1;
    return OK;
}

int nvmlDeviceGetUUID(device of, char *to, unsigned size) {
    const char *uuid = of == PLAIN ? "GPU-1" : of == DIVIDED ? "GPU-2" : of == FIRST ? "MIG-1" : "MIG-3";
    return text(to, size, uuid);
}

int nvmlDeviceGetName(device of, char *to, unsigned size) { return text(to, size, of == PLAIN ? "NVIDIA L4" : "NVIDIA A100"); }

int nvmlDeviceGetPciInfo_v3(device of, pci *to) {
    memset(to, 0, sizeof *to);
    return text(to->bus_id, sizeof to->bus_id, of == PLAIN ? "00000000:3B:00.0" : "00000000:AF:00.0");
}

int nvmlDeviceGetUtilizationRates(device of, rates *to) {
    if (of != PLAIN) return NOT_SUPPORTED;
    to->gpu = 87, to->memory = 41;
    return OK;
}

#ifndef OLD
int nvmlDeviceGetMemoryInfo_v2(device of, memory *to) {
    /* The size of the structure and the version of its form. */
    if (to->version != (sizeof *to | 2u << 24)) return ARGUMENT;
    to->total = of << 30, to->used = 1u << 20, to->reserved = 1u << 10, to->free = to->total - to->used - to->reserved;
    return OK;
}
#endif

int nvmlDeviceGetPowerUsage(device of, unsigned *to) { return *to = 61532, of == PLAIN ? OK : UNKNOWN; }
int nvmlDeviceGetTotalEnergyConsumption(device of, unsigned long long *to) { return *to = 987654321, of == PLAIN ? OK : NOT_SUPPORTED; }
int nvmlDeviceGetTemperature(device of, unsigned sensor, unsigned *to) { return *to = 60 + of, sensor ? ARGUMENT : OK; }

int nvmlDeviceGetMigMode(device of, unsigned *current, unsigned *pending) {
    if (of == PLAIN) return NOT_SUPPORTED;
    *current = *pending = 1;
    return OK;
}

int nvmlDeviceGetMaxMigDeviceCount(device of, unsigned *count) { return *count = 7, of == DIVIDED ? OK : NOT_SUPPORTED; }

int nvmlDeviceGetMigDeviceHandleByIndex(device of, unsigned index, device *to) {
    if (of != DIVIDED || (index != 0 && index != 2)) return NOT_FOUND;
    *to = index + FIRST;
    return OK;
}

int nvmlDeviceGetComputeRunningProcesses_v3(device of, unsigned *room, process *to) {
    unsigned count = of == SECOND ? 0 : 1, given = *room;
    *room = count;
    if (given < count) return SIZE;
    if (count) {
        to->pid = worker(), to->used = 7u << 20;
        to->gpu_instance = of == PLAIN ? ~0u : 5, to->compute_instance = of == PLAIN ? ~0u : 0;
    }
    return OK;
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(device of, unsigned *room, process *to) {
    return of == PLAIN ? nvmlDeviceGetComputeRunningProcesses_v3(of, room, to) : NOT_SUPPORTED;
}

int nvmlDeviceGetProcessUtilization(device of, sample *to, unsigned *room, unsigned long long since) {
    unsigned long long now = (unsigned long long)time(NULL) * 1000000;
    unsigned given = *room;
    if (of != PLAIN) return NOT_SUPPORTED;
    /* Who asks for the last seconds has a clock of the day in microseconds. */
    if (since > now || now - since > 60000000ull) return NOT_FOUND;
    *room = 1;
    if (!to || given < 1) return SIZE;
    to->pid = worker(), to->time = now, to->sm = 33, to->memory = 22, to->encoder = to->decoder = 0;
    return OK;
}
