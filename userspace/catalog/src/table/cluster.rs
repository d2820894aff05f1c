//! Rows of what the Kubernetes API and metrics-server say.

super::metrics! {
    super::vm::NEXT;

    /// CPU that the container asks for, by its pod's specification.
    K8S_CONTAINER_CPU_REQUEST_DESIRED = "k8s.container.cpu.request.desired", "{cpu}", UpDownCounter Double, Container, Api;
    /// CPU that the container asks for, as the kubelet has put it in force.
    K8S_CONTAINER_CPU_REQUEST_CURRENT = "k8s.container.cpu.request.current", "{cpu}", UpDownCounter Double, Container, Api;
    /// CPU that the container may use at most, by its pod's specification.
    K8S_CONTAINER_CPU_LIMIT_DESIRED = "k8s.container.cpu.limit.desired", "{cpu}", UpDownCounter Double, Container, Api;
    /// CPU that the container may use at most, as the kubelet has put it in force.
    K8S_CONTAINER_CPU_LIMIT_CURRENT = "k8s.container.cpu.limit.current", "{cpu}", UpDownCounter Double, Container, Api;
    /// Memory that the container asks for, by its pod's specification.
    K8S_CONTAINER_MEMORY_REQUEST_DESIRED = "k8s.container.memory.request.desired", "By", UpDownCounter Int, Container, Api;
    /// Memory that the container asks for, as the kubelet has put it in force.
    K8S_CONTAINER_MEMORY_REQUEST_CURRENT = "k8s.container.memory.request.current", "By", UpDownCounter Int, Container, Api;
    /// Memory that the container may use at most, by its pod's specification.
    K8S_CONTAINER_MEMORY_LIMIT_DESIRED = "k8s.container.memory.limit.desired", "By", UpDownCounter Int, Container, Api;
    /// Memory that the container may use at most, as the kubelet has put it in force.
    K8S_CONTAINER_MEMORY_LIMIT_CURRENT = "k8s.container.memory.limit.current", "By", UpDownCounter Int, Container, Api;
    /// Ephemeral storage that the container asks for.
    K8S_CONTAINER_EPHEMERAL_STORAGE_REQUEST = "k8s.container.ephemeral_storage.request", "By", UpDownCounter Int, Container, Api;
    /// Ephemeral storage that the container may use at most.
    K8S_CONTAINER_EPHEMERAL_STORAGE_LIMIT = "k8s.container.ephemeral_storage.limit", "By", UpDownCounter Int, Container, Api;
    /// 1, with labels for the workload that the pod belongs to and for its quality of service.
    POD_INFO = "podscope.pod.info", "{pod}", Gauge Int, Workload, Api;
    /// CPUs that the node has for pods, by its object in the Kubernetes API.
    NODE_CPU_ALLOCATABLE = "k8s.node.cpu.allocatable", "{cpu}", UpDownCounter Double, Node, Api;
    /// Memory that the node has for pods, by its object in the Kubernetes API.
    NODE_MEMORY_ALLOCATABLE = "k8s.node.memory.allocatable", "By", UpDownCounter Int, Node, Api;
    /// Ephemeral storage that the node has for pods, by its object in the Kubernetes API.
    NODE_EPHEMERAL_STORAGE_ALLOCATABLE = "k8s.node.ephemeral_storage.allocatable", "By", UpDownCounter Int, Node, Api;
    /// Pods that the node takes, by its object in the Kubernetes API.
    NODE_POD_ALLOCATABLE = "k8s.node.pod.allocatable", "{pod}", UpDownCounter Int, Node, Api;
    /// CPUs that the node has in all, by its object in the Kubernetes API.
    NODE_CPU_CAPACITY = "podscope.node.cpu.capacity", "{cpu}", UpDownCounter Double, Node, Api;
    /// Memory that the node has in all, by its object in the Kubernetes API.
    NODE_MEMORY_CAPACITY = "podscope.node.memory.capacity", "By", UpDownCounter Int, Node, Api;
    /// Ephemeral storage that the node has in all, by its object in the Kubernetes API.
    NODE_EPHEMERAL_STORAGE_CAPACITY = "podscope.node.ephemeral_storage.capacity", "By", UpDownCounter Int, Node, Api;
    /// Pods that the node could take in all, by its object in the Kubernetes API.
    NODE_POD_CAPACITY = "podscope.node.pod.capacity", "{pod}", UpDownCounter Int, Node, Api;

    /// CPUs that the container used on average, as metrics-server says it.
    METRICS_SERVER_CONTAINER_CPU_USAGE = "podscope.metrics_server.container.cpu.usage", "{cpu}", Gauge Double, Container, MetricsServer;
    /// How much more metrics-server says than the container's own counter over the same window.
    METRICS_SERVER_CONTAINER_CPU_DIFFERENCE = "podscope.metrics_server.container.cpu.difference", "{cpu}", Gauge Double, Container, MetricsServer;
    /// Working set of the container, as metrics-server says it.
    METRICS_SERVER_CONTAINER_MEMORY_WORKING_SET = "podscope.metrics_server.container.memory.working_set", "By", UpDownCounter Int, Container, MetricsServer;
    /// How much more metrics-server says than the container's own working set at the same instant.
    METRICS_SERVER_CONTAINER_MEMORY_DIFFERENCE = "podscope.metrics_server.container.memory.difference", "By", Gauge Int, Container, MetricsServer;

    /// CPUs that the pod used on average, as metrics-server says it.
    METRICS_SERVER_POD_CPU_USAGE = "podscope.metrics_server.pod.cpu.usage", "{cpu}", Gauge Double, Pod, MetricsServer;
    /// How much more metrics-server says than the pod's own counter over the same window.
    METRICS_SERVER_POD_CPU_DIFFERENCE = "podscope.metrics_server.pod.cpu.difference", "{cpu}", Gauge Double, Pod, MetricsServer;
    /// Working set of the pod, as metrics-server says it.
    METRICS_SERVER_POD_MEMORY_WORKING_SET = "podscope.metrics_server.pod.memory.working_set", "By", UpDownCounter Int, Pod, MetricsServer;
    /// How much more metrics-server says than the pod's own working set at the same instant.
    METRICS_SERVER_POD_MEMORY_DIFFERENCE = "podscope.metrics_server.pod.memory.difference", "By", Gauge Int, Pod, MetricsServer;
    /// Time over which metrics-server's CPU figure of the pod is an average.
    METRICS_SERVER_POD_WINDOW = "podscope.metrics_server.pod.window", "s", Gauge Double, Pod, MetricsServer;
    /// Time since metrics-server's figures of the pod were taken.
    METRICS_SERVER_POD_AGE = "podscope.metrics_server.pod.age", "s", Gauge Double, Pod, MetricsServer;
}
