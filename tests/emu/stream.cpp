/* Streams, events, graphs: which work runs when. Without EMU_ASYNC work runs as it is submitted. With it, work waits in its stream until somebody waits for
 * it, and only as much runs as then must: a missing synchronisation reads what was there before. */
#include "core.h"
#include <chrono>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <vector>

namespace emu {
struct Work {
    Site                  site;
    std::function<void()> run;
    uint64_t              ticket;                       /* in order of submission, over all streams */
    emuStream            *after;                        /* runs after what was submitted to this stream up to after_ticket; NULL */
    uint64_t              after_ticket;
};
}
using namespace emu;

struct emuStream {
    std::deque<Work> queue;
    bool             alone;                             /* cudaStreamNonBlocking: not ordered with the default stream */
    bool             destroyed;
    emuGraph        *capture;
};
struct emuEvent {
    emuStream *stream;                                  /* of the last record; NULL: never recorded */
    uint64_t   ticket;
    bool       done;
    double     time;
    emuGraph  *capture;
};
struct emuGraph {
    std::vector<Work> work;
};

namespace emu {

static std::list<emuStream> &streams()                  /* the default stream first */
{
    static auto *list = new std::list<emuStream>(1);
    return *list;
}
static emuStream *stream_of(cudaStream_t stream) { return stream ? stream : &streams().front(); }
static uint64_t   tickets;
static int        captures;

/* ---- errors ---- */

static cudaError_t last_error;
cudaError_t set_error(cudaError_t error) { return last_error = error; }

bool forbidden_in_capture()
{
    if (captures) set_error(cudaErrorStreamCaptureUnsupported);
    return captures > 0;
}

/* ---- running ---- */

static void run_until(emuStream *stream, uint64_t ticket);

/* The default stream waits for all others, and they for it. */
static void run_before(emuStream *stream, const Work &work)
{
    if (work.after) run_until(work.after, work.after_ticket);
    emuStream *first = &streams().front();
    if (stream->alone) return;
    if (stream != first) run_until(first, work.ticket);
    else
        for (emuStream &other : streams())
            if (&other != first && !other.alone) run_until(&other, work.ticket);
}

static void run_work(const Work &work)
{
    if (!work.run) return;
    memory_open(true);
    work.run();
    memory_open(false);
}

static void run_until(emuStream *stream, uint64_t ticket)
{
    while (!stream->queue.empty() && stream->queue.front().ticket <= ticket) {
        Work work = stream->queue.front();
        stream->queue.pop_front();
        run_before(stream, work);
        run_work(work);
    }
}

static cudaError_t submit(cudaStream_t to, Work work)
{
    emuStream *stream = stream_of(to);
    if (stream->capture) stream->capture->work.push_back(work);
    else if (captures && !stream->alone && stream == &streams().front()) return set_error(cudaErrorStreamCaptureUnsupported);
    else {
        work.ticket = ++tickets;
        if (settings().async) stream->queue.push_back(work);
        else run_work(work);
    }
    return cudaSuccess;
}

/* ---- kernels ---- */

static std::map<const void *, int> &opted_in()
{
    static auto *map = new std::map<const void *, int>;
    return *map;
}

/* What an sm_75 card refuses. */
static cudaError_t check_launch(const Call *c)
{
    const dim3   g = c->blocks, t = c->threads;
    const size_t threads = (size_t)t.x * t.y * t.z, limit = opted_in().count(c->kernel) ? (size_t)opted_in()[c->kernel] : 48 << 10;
    if (c->shared > limit) {
        warn(c->site, "%s: %zu bytes of shared memory, but the limit is %zu (cudaFuncSetAttribute raises it, to at most 65536)", c->name, c->shared, limit);
        return cudaErrorInvalidValue;
    }
    if (threads < 1 || threads > 1024 || t.z > 64 || !g.x || !g.y || !g.z || g.x > 0x7fffffff || g.y > 65535 || g.z > 65535) {
        warn(c->site, "%s: a grid of (%u,%u,%u) blocks of (%u,%u,%u) threads cannot be launched", c->name, g.x, g.y, g.z, t.x, t.y, t.z);
        return cudaErrorInvalidConfiguration;
    }
    return cudaSuccess;
}

/* EMU_LAUNCHES=FILE: at the end a line for each kernel, its name as the linker knows it and the most threads and shared bytes it was launched with. */
static std::map<const void *, std::pair<size_t, size_t>> &launched()
{
    static auto *map = new std::map<const void *, std::pair<size_t, size_t>>;
    return *map;
}
static void tell_launches()
{
    FILE *f = fopen(getenv("EMU_LAUNCHES"), "a");
    char  name[4096];
    for (auto &entry : launched())
        if (f && symbol_of(name, sizeof name, entry.first)) fprintf(f, "%s %zu %zu\n", name, entry.second.first, entry.second.second);
    if (!f || fclose(f)) perror(getenv("EMU_LAUNCHES"));
}
static void note_launch(const Call *c)
{
    static const bool on = getenv("EMU_LAUNCHES") && !atexit(tell_launches);
    if (!on) return;
    auto &most = launched()[c->kernel];
    most.first = std::max(most.first, (size_t)c->threads.x * c->threads.y * c->threads.z), most.second = std::max(most.second, c->shared);
}

void launch(Call *call, cudaStream_t stream)
{
    std::shared_ptr<Call> kept(call);
    cudaError_t           error = check_launch(call);
    if (error) {
        set_error(error);
        return;
    }
    note_launch(call);
    submit(stream, { call->site, [kept] { run_blocks(kept.get()), memory_check(kept->name, kept->site); }, 0, nullptr, 0 });
}

/* ---- copies ---- */

static std::map<const char *, size_t> &pinned()
{
    static auto *map = new std::map<const char *, size_t>;
    return *map;
}
static bool is_pinned(const void *p)
{
    auto next = pinned().upper_bound((const char *)p);
    return next != pinned().begin() && (const char *)p < std::prev(next)->first + std::prev(next)->second;
}

static std::list<Pending> &pending()
{
    static auto *list = new std::list<Pending>;
    return *list;
}
const Pending *pending_at(const void *p)
{
    for (const Pending &w : pending())
        if ((const char *)p >= w.p && (const char *)p < w.p + w.bytes) return &w;
    return nullptr;
}

/* `count` pieces of `bytes` bytes, `pitch` apart, on the side of the bus that `device` says, wholly inside of one allocation. */
struct Area {
    char  *p;
    size_t pitch, bytes, count;
    size_t span() const { return count && bytes ? (count - 1) * pitch + bytes : 0; }
};
static void check_area(const Area &a, bool device, Site site)
{
    if (!a.span()) return;
    const Allocation *m = allocation_at(a.p);
    if (device && !m) fail(site, "a copy or memset of %p, which is not device memory", (void *)a.p);
    if (!m) return;
    const ptrdiff_t first = a.p - m->p, last = first + (ptrdiff_t)a.span();
    if (!device) fail(site, "a copy takes device memory for the host's: byte %td of the %zu allocated at %s:%d", first, m->bytes, m->site.file, m->site.line);
    if (first < 0 || last > (ptrdiff_t)m->bytes)
        fail(site, "a copy or memset of bytes %td to %td of the %zu allocated at %s:%d", first, last, m->bytes, m->site.file, m->site.line);
}

static void copy_pieces(const Area &to, const Area &from)
{
    for (size_t i = 0; i < to.count; i++) {
        memcpy(to.p + i * to.pitch, from.p + i * from.pitch, to.bytes);
        race_device_write(to.p + i * to.pitch, to.bytes);
    }
}

/* What pageable memory holds is taken at once, as CUDA does; pinned memory is read when the copy runs. Where the copy's result will be, there is NaN till
 * then. */
static cudaError_t copy(const Area &to, const Area &from, cudaMemcpyKind kind, cudaStream_t stream, Site site)
{
    bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice || (kind == cudaMemcpyDefault && allocation_at(to.p));
    bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice || (kind == cudaMemcpyDefault && allocation_at(from.p));
    check_area(to, to_device, site), check_area(from, from_device, site);
    if (!to.span()) return cudaSuccess;
    if (!settings().async) return submit(stream, { site, [=] { copy_pieces(to, from); }, 0, nullptr, 0 });
    if (!from_device && !is_pinned(from.p)) {
        std::shared_ptr<char> taken((char *)malloc(from.span()), free);
        if (!taken) return set_error(cudaErrorMemoryAllocation);
        memcpy(taken.get(), from.p, from.span());
        return submit(stream, { site, [=] { copy_pieces(to, { taken.get(), from.pitch, from.bytes, from.count }); }, 0, nullptr, 0 });
    }
    if (to_device) return submit(stream, { site, [=] { copy_pieces(to, from); }, 0, nullptr, 0 });
    for (size_t i = 0; i < to.count; i++) memset(to.p + i * to.pitch, 0xff, to.bytes);
    pending().push_back({ to.p, to.span(), site });
    auto here = std::prev(pending().end());
    return submit(stream, { site, [=] { pending().erase(here), copy_pieces(to, from); }, 0, nullptr, 0 });
}
}

/* ---- what the host calls ---- */

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream, const char *file, int line)
{
    return copy({ (char *)to, bytes, bytes, 1 }, { (char *)from, bytes, bytes, 1 }, kind, stream, { file, line });
}

cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height, cudaMemcpyKind kind,
                              cudaStream_t stream, const char *file, int line)
{
    if (width > to_pitch || width > from_pitch) return set_error(cudaErrorInvalidValue);
    return copy({ (char *)to, to_pitch, width, height }, { (char *)from, from_pitch, width, height }, kind, stream, { file, line });
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, const char *file, int line)
{
    if (forbidden_in_capture()) return cudaErrorStreamCaptureUnsupported;
    cudaError_t error = cudaMemcpyAsync(to, from, bytes, kind, nullptr, file, line);
    return error ? error : cudaStreamSynchronize(nullptr);
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t stream, const char *file, int line)
{
    check_area({ (char *)p, bytes, bytes, 1 }, true, { file, line });
    return submit(stream, { { file, line }, [=] { memory_set((char *)p, value, bytes), race_device_write(p, bytes); }, 0, nullptr, 0 });
}

cudaError_t cudaMemset(void *p, int value, size_t bytes, const char *file, int line) { return cudaMemsetAsync(p, value, bytes, nullptr, file, line); }

cudaError_t cudaMallocHost(void **p, size_t bytes)
{
    if (!(*p = malloc(bytes ? bytes : 1))) return set_error(cudaErrorMemoryAllocation);
    pinned()[(const char *)*p] = bytes;
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *p)
{
    cudaDeviceSynchronize();
    pinned().erase((const char *)p);
    free(p);
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    streams().push_back({});
    *stream = &streams().back();
    (*stream)->alone = flags & cudaStreamNonBlocking;
    return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t *stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }

cudaError_t cudaStreamDestroy(cudaStream_t stream)      /* stays in the list: events may still name it */
{
    if (!stream || stream->destroyed) return set_error(cudaErrorInvalidResourceHandle);
    run_until(stream, tickets);
    stream->destroyed = true;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    if (forbidden_in_capture()) return cudaErrorStreamCaptureUnsupported;
    Work all = { {}, nullptr, tickets, nullptr, 0 };
    run_before(stream_of(stream), all);
    run_until(stream_of(stream), tickets);
    return last_error;
}

cudaError_t cudaStreamQuery(cudaStream_t stream) { return stream_of(stream)->queue.empty() ? cudaSuccess : cudaErrorNotReady; }

cudaError_t cudaDeviceSynchronize()
{
    if (forbidden_in_capture()) return cudaErrorStreamCaptureUnsupported;
    for (emuStream &stream : streams()) run_until(&stream, tickets);
    return last_error;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    if (event->capture) return stream_of(stream)->capture = event->capture, cudaSuccess;
    if (!event->stream) return cudaSuccess;
    return submit(stream, { {}, nullptr, 0, event->stream, event->ticket });
}

static double seconds()
{
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned) { return *event = new emuEvent {}, cudaSuccess; }
cudaError_t cudaEventCreate(cudaEvent_t *event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }
cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    cudaEventSynchronize(event);
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    event->capture = stream_of(stream)->capture;
    if (event->capture) return cudaSuccess;
    event->stream = stream_of(stream), event->done = false;
    cudaError_t error = submit(stream, { {}, [event] { event->done = true, event->time = seconds(); }, 0, nullptr, 0 });
    event->ticket = tickets;
    return error;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    if (event->stream) run_until(event->stream, event->ticket);
    return last_error;
}
cudaError_t cudaEventQuery(cudaEvent_t event) { return event->stream && !event->done ? cudaErrorNotReady : cudaSuccess; }

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end)
{
    if (!start->stream || !end->stream) return set_error(cudaErrorInvalidResourceHandle);
    if (!start->done || !end->done) return cudaErrorNotReady;
    *milliseconds = (float)((end->time - start->time) * 1e3);
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode)
{
    if (!stream || stream->capture) return set_error(cudaErrorStreamCaptureUnsupported);
    stream->capture = new emuGraph;
    captures++;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    if (!stream || !stream->capture) return set_error(cudaErrorStreamCaptureInvalidated);
    *graph = stream->capture;
    for (emuStream &other : streams())
        if (other.capture == *graph) other.capture = nullptr;
    captures--;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long) { return *exec = new emuGraph(*graph), cudaSuccess; }

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    for (const Work &work : exec->work) {
        cudaError_t error = submit(stream, work);
        if (error) return error;
    }
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return delete graph, cudaSuccess; }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) { return delete exec, cudaSuccess; }

/* ---- the device ---- */

cudaError_t cudaFuncSetAttribute(const void *kernel, cudaFuncAttribute attribute, int value)
{
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
    if (value < 0 || value > 64 << 10) return set_error(cudaErrorInvalidValue);
    opted_in()[kernel] = value;
    return cudaSuccess;
}

static int current;

static bool is_device(int device) { return device >= 0 && device < settings().devices; }

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = settings().devices > 0 ? settings().devices : 0;
    return *count ? cudaSuccess : set_error(settings().devices < 0 ? cudaErrorInsufficientDriver : cudaErrorNoDevice);
}
cudaError_t cudaSetDevice(int device) { return is_device(device) ? current = device, cudaSuccess : set_error(cudaErrorInvalidDevice); }
cudaError_t cudaGetDevice(int *device) { return *device = current, cudaSuccess; }
cudaError_t cudaDriverGetVersion(int *version) { return *version = settings().devices < 0 ? 0 : 13000, cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int *version) { return *version = 13000, cudaSuccess; }

/* Those of an RTX 2080. */
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device)
{
    if (!is_device(device)) return set_error(cudaErrorInvalidDevice);
    *value = attribute == cudaDevAttrClockRate ? 1710000 : attribute == cudaDevAttrMemoryClockRate ? 7000000 : 256;
    return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device)
{
    if (!is_device(device)) return set_error(cudaErrorInvalidDevice);
    *properties = { "emulated sm_75", settings().memory, 48 << 10, 64 << 10, 64 << 10, 7, 5, 46, 32, 1024, 1024, 65536, 4 << 20, 256 };
    return cudaSuccess;
}

cudaError_t cudaGetLastError()
{
    cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}
cudaError_t cudaPeekAtLastError() { return last_error; }

static const struct {
    cudaError_t error;
    const char *name, *text;
} errors[] = {
    { cudaSuccess, "cudaSuccess", "no error" },
    { cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument" },
    { cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory" },
    { cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument" },
    { cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver", "CUDA driver version is insufficient for CUDA runtime version" },
    { cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected" },
    { cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal" },
    { cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle" },
    { cudaErrorNotReady, "cudaErrorNotReady", "device not ready" },
    { cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing" },
    { cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated", "operation failed due to a previous error during capture" },
};
const char *cudaGetErrorString(cudaError_t error)
{
    for (auto &e : errors)
        if (e.error == error) return e.text;
    return "unrecognized error code";
}
const char *cudaGetErrorName(cudaError_t error)
{
    for (auto &e : errors)
        if (e.error == error) return e.name;
    return "unrecognized error code";
}
