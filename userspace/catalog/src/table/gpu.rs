//! Rows of GPUs.

super::metrics! {
    super::node::NEXT;

    /// Share of time in which a program ran on the GPU, over NVML's last sample of up to a second.
    GPU_UTILIZATION = "hw.gpu.utilization", "1", Gauge Double, Gpu, Nvml;
    /// Share of that time in which the GPU's memory was read or written.
    GPU_MEMORY_BUSY = "podscope.gpu.memory.busy", "1", Gauge Double, Gpu, Nvml;
    /// Memory of the GPU in use, without what the driver keeps for itself where it tells that apart.
    GPU_MEMORY_USAGE = "hw.gpu.memory.usage", "By", UpDownCounter Int, Gpu, Nvml;
    /// Memory of the GPU.
    GPU_MEMORY_LIMIT = "hw.gpu.memory.limit", "By", UpDownCounter Int, Gpu, Nvml;
    /// Memory of the GPU that is free.
    GPU_MEMORY_FREE = "podscope.gpu.memory.free", "By", UpDownCounter Int, Gpu, Nvml;
    /// Power that the GPU draws.
    GPU_POWER = "hw.power", "W", Gauge Double, Gpu, Nvml, [HW_TYPE];
    /// Energy that the GPU has used since its driver was loaded.
    GPU_ENERGY = "hw.energy", "J", Counter Double, Gpu, Nvml, [HW_TYPE];
    /// Temperature of the GPU.
    GPU_TEMPERATURE = "hw.temperature", "Cel", Gauge Double, Gpu, Nvml;
    /// 1 where the GPU is divided into instances (MIG), 0 where it could be.
    GPU_MIG = "podscope.gpu.mig", "{gpu}", Gauge Int, Gpu, Nvml;
    /// Processes with a context on the GPU, those included that the agent does not know.
    GPU_PROCESS_COUNT = "podscope.gpu.process.count", "{process}", UpDownCounter Int, Gpu, Nvml, [GPU_CONTEXT];
    /// Memory of the instance in use.
    GPU_INSTANCE_MEMORY_USAGE = "podscope.gpu.instance.memory.usage", "By", UpDownCounter Int, GpuInstance, Nvml;
    /// Memory of the instance.
    GPU_INSTANCE_MEMORY_LIMIT = "podscope.gpu.instance.memory.limit", "By", UpDownCounter Int, GpuInstance, Nvml;
    /// Memory of the GPU that the container's processes hold, also on its instances.
    CONTAINER_GPU_MEMORY_USAGE = "podscope.container.gpu.memory.usage", "By", UpDownCounter Int, ContainerGpu, Nvml;
    /// Sum of the container's processes' use of the GPU's multiprocessors, absent on instances.
    CONTAINER_GPU_UTILIZATION = "podscope.container.gpu.utilization", "1", Gauge Double, ContainerGpu, Nvml;
    /// Processes of the container with a context on the GPU.
    CONTAINER_GPU_PROCESS_COUNT = "podscope.container.gpu.process.count", "{process}", UpDownCounter Int, ContainerGpu, Nvml;
    /// Memory of the GPU that the process holds.
    PROCESS_GPU_MEMORY_USAGE = "podscope.process.gpu.memory.usage", "By", UpDownCounter Int, ProcessGpu, Nvml, [GPU_CONTEXT];
    /// The process's use of the GPU's multiprocessors, by its last sample of the last 5 s; absent on instances.
    PROCESS_GPU_UTILIZATION = "podscope.process.gpu.utilization", "1", Gauge Double, ProcessGpu, Nvml;
    /// Share of time in which the process had the GPU's memory read or written, by the same sample.
    PROCESS_GPU_MEMORY_BUSY = "podscope.process.gpu.memory.busy", "1", Gauge Double, ProcessGpu, Nvml;
    /// 1 for each GPU that is left to virtual machines.
    GPU_PASSTHROUGH = "podscope.gpu.passthrough", "{gpu}", Gauge Int, PassthroughGpu, Kernel;
}
