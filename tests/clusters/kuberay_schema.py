"""The fields of KubeRay's resources and of the Kubernetes ones in clusters/, kept by hand from their definitions (v1).

Fields that nothing here uses are known too where they stand beside those that do; deep parts that nobody here writes
(affinities, probes, …) are let through as they are. What has another name or type is a mistake.
"""

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string", "minLength": 1}
WHOLE: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
QUANTITY: Schema = {"type": ["string", "integer"], "pattern": r"^[0-9]+(\.[0-9]+)?(m|Ki|Mi|Gi|Ti|k|M|G|T)?$"}
WHATEVER: Schema = {"type": ["object", "array"]}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}
PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65_535}


def one_of(*values: str) -> Schema:
    return {"enum": list(values)}


def many(item: Schema) -> Schema:
    return {"type": "array", "items": item, "minItems": 1}


def fields(*required: str, **known: Schema) -> Schema:
    """A mapping with these keys and no others."""
    return {"type": "object", "properties": known, "required": list(required), "additionalProperties": False}


def resource(version: str, kind: str, spec: Schema) -> Schema:
    metadata = fields("name", name=TEXT, namespace=TEXT, labels=TEXTS, annotations=TEXTS)
    versioned = {"apiVersion": one_of(version), "kind": one_of(kind)}
    return fields("apiVersion", "kind", "metadata", "spec", metadata=metadata, spec=spec, **versioned)


SECRET_KEY = fields("name", "key", name=TEXT, key=TEXT, optional=FLAG)
VALUE_FROM = fields(secretKeyRef=SECRET_KEY, configMapKeyRef=SECRET_KEY, fieldRef=WHATEVER, resourceFieldRef=WHATEVER)
ENV = many(fields("name", name=TEXT, value=TEXT, valueFrom=VALUE_FROM))
AMOUNTS: Schema = {"type": "object", "additionalProperties": QUANTITY, "minProperties": 1}
COMPUTE = fields(requests=AMOUNTS, limits=AMOUNTS, claims=WHATEVER)
SECCOMP = fields("type", type=one_of("RuntimeDefault", "Localhost", "Unconfined"), localhostProfile=TEXT)
CONTAINER_SECURITY = fields(
    allowPrivilegeEscalation=FLAG,
    capabilities=fields(add=many(TEXT), drop=many(TEXT)),
    privileged=FLAG,
    readOnlyRootFilesystem=FLAG,
    runAsGroup=WHOLE,
    runAsNonRoot=FLAG,
    runAsUser=WHOLE,
    seLinuxOptions=WHATEVER,
    seccompProfile=SECCOMP,
)
MOUNT = fields("name", "mountPath", name=TEXT, mountPath=TEXT, readOnly=FLAG, subPath=TEXT)
CONTAINER = fields(
    "name",
    "image",
    name=TEXT,
    image=TEXT,
    imagePullPolicy=one_of("Always", "IfNotPresent", "Never"),
    command=many(TEXT),
    args=many(TEXT),
    env=ENV,
    envFrom=WHATEVER,
    lifecycle=WHATEVER,
    livenessProbe=WHATEVER,
    ports=many(fields("containerPort", containerPort=PORT, name=TEXT, protocol=TEXT)),
    readinessProbe=WHATEVER,
    resources=COMPUTE,
    securityContext=CONTAINER_SECURITY,
    volumeMounts=many(MOUNT),
    workingDir=TEXT,
)
VOLUME = fields(
    "name",
    name=TEXT,
    configMap=WHATEVER,
    emptyDir={"type": "object"},
    persistentVolumeClaim=fields("claimName", claimName=TEXT, readOnly=FLAG),
    secret=WHATEVER,
)
TOLERATION = fields(
    key=TEXT,
    operator=one_of("Exists", "Equal"),
    value=TEXT,
    effect=one_of("NoSchedule", "PreferNoSchedule", "NoExecute"),
    tolerationSeconds=WHOLE,
)
POD = fields(
    "containers",
    affinity=WHATEVER,
    containers=many(CONTAINER),
    imagePullSecrets=WHATEVER,
    initContainers=many(CONTAINER),
    nodeSelector=TEXTS,
    priorityClassName=TEXT,
    restartPolicy=one_of("Always", "OnFailure", "Never"),
    securityContext=fields(
        fsGroup=WHOLE, runAsGroup=WHOLE, runAsNonRoot=FLAG, runAsUser=WHOLE, seccompProfile=SECCOMP, sysctls=WHATEVER
    ),
    serviceAccountName=TEXT,
    terminationGracePeriodSeconds=WHOLE,
    tolerations=many(TOLERATION),
    topologySpreadConstraints=WHATEVER,
    volumes=many(VOLUME),
)
TEMPLATE = fields("spec", metadata=fields(labels=TEXTS, annotations=TEXTS), spec=POD)

AUTOSCALER = fields(
    env=ENV,
    envFrom=WHATEVER,
    idleTimeoutSeconds=WHOLE,
    image=TEXT,
    imagePullPolicy=one_of("Always", "IfNotPresent", "Never"),
    resources=COMPUTE,
    securityContext=CONTAINER_SECURITY,
    upscalingMode=one_of("Default", "Aggressive", "Conservative"),
    version=one_of("v1", "v2"),
    volumeMounts=many(MOUNT),
)
HEAD_GROUP = fields(
    "template",
    enableIngress=FLAG,
    headService=WHATEVER,
    labels=TEXTS,
    rayStartParams={"type": "object", "additionalProperties": {"type": "string"}},
    resources=TEXTS,
    serviceType=one_of("ClusterIP", "NodePort", "LoadBalancer"),
    template=TEMPLATE,
)
WORKER_GROUP = fields(
    "groupName",
    "minReplicas",
    "maxReplicas",
    "template",
    groupName=TEXT,
    idleTimeoutSeconds=WHOLE,
    labels=TEXTS,
    maxReplicas=WHOLE,
    minReplicas=WHOLE,
    numOfHosts=WHOLE,
    priority=WHOLE,
    rayStartParams={"type": "object", "additionalProperties": {"type": "string"}},
    replicas=WHOLE,
    resources=TEXTS,
    suspend=FLAG,
    template=TEMPLATE,
)
REDIS_VALUE = fields(value=TEXT, valueFrom=VALUE_FROM)
RAY_CLUSTER = fields(
    "headGroupSpec",
    authOptions=fields(enableK8sTokenAuth=FLAG, mode=one_of("disabled", "token"), secretName=TEXT),
    autoscalerOptions=AUTOSCALER,
    enableInTreeAutoscaling=FLAG,
    gcsFaultToleranceOptions=fields(
        backend=one_of("redis", "rocksdb"),
        externalStorageNamespace=TEXT,
        redisAddress=TEXT,
        redisPassword=REDIS_VALUE,
        redisUsername=REDIS_VALUE,
        storage=WHATEVER,
    ),
    headGroupSpec=HEAD_GROUP,
    headServiceAnnotations=TEXTS,
    managedBy=TEXT,
    rayVersion=TEXT,
    suspend=FLAG,
    tlsOptions=fields(enabled=FLAG),
    upgradeStrategy=fields(type=one_of("Recreate", "None")),
    workerGroupSpecs=many(WORKER_GROUP),
)
RAY_JOB = fields(
    activeDeadlineSeconds=WHOLE,
    backoffLimit=WHOLE,
    clusterSelector=TEXTS,
    deletionStrategy=WHATEVER,
    entrypoint=TEXT,
    entrypointNumCpus=NUMBER,
    entrypointNumGpus=NUMBER,
    entrypointResources=TEXT,
    jobId=TEXT,
    managedBy=TEXT,
    metadata=TEXTS,
    preRunningDeadlineSeconds=WHOLE,
    rayClusterSpec=RAY_CLUSTER,
    runtimeEnvYAML=TEXT,
    shutdownAfterJobFinishes=FLAG,
    submissionMode=one_of("K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode"),
    submitterConfig=fields(backoffLimit=WHOLE),
    submitterPodTemplate=TEMPLATE,
    suspend=FLAG,
    ttlSecondsAfterFinished=WHOLE,
)
RAY_SERVICE = fields(
    "rayClusterConfig",
    deploymentUnhealthySecondThreshold=WHOLE,
    excludeHeadPodFromServeSvc=FLAG,
    managedBy=TEXT,
    rayClusterConfig=RAY_CLUSTER,
    rayClusterDeletionDelaySeconds=WHOLE,
    serveConfigV2=TEXT,
    serveService=WHATEVER,
    serviceUnhealthySecondThreshold=WHOLE,
    suspend=FLAG,
    upgradeStrategy=fields(type=TEXT, clusterUpgradeOptions=WHATEVER),
)

LABELS = fields(
    matchLabels=TEXTS,
    matchExpressions=many(
        fields("key", "operator", key=TEXT, operator=one_of("In", "NotIn", "Exists", "DoesNotExist"), values=many(TEXT))
    ),
)
POLICY_PORT = fields(port=PORT, protocol=one_of("TCP", "UDP", "SCTP"), endPort=PORT)
PEER = fields(podSelector=LABELS, namespaceSelector=LABELS, ipBlock=WHATEVER)
NETWORK_POLICY = fields(
    "podSelector",
    podSelector=LABELS,
    policyTypes=many(one_of("Ingress", "Egress")),
    ingress=many({**fields(ports=many(POLICY_PORT)), "properties": {"from": many(PEER), "ports": many(POLICY_PORT)}}),
    egress=WHATEVER,
)
CLAIM = fields(
    "accessModes",
    "resources",
    accessModes=many(one_of("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")),
    resources=COMPUTE,
    storageClassName=TEXT,
    volumeName=TEXT,
)
SERVICE = fields(
    "ports",
    type=one_of("ClusterIP", "NodePort", "LoadBalancer"),
    selector=TEXTS,
    clusterIP=TEXT,
    ports=many(fields("port", name=TEXT, port=PORT, targetPort={"type": ["string", "integer"]}, protocol=TEXT)),
)
DEPLOYMENT = fields(
    "selector",
    "template",
    replicas=WHOLE,
    selector=LABELS,
    strategy=fields(type=one_of("Recreate", "RollingUpdate"), rollingUpdate=WHATEVER),
    template=TEMPLATE,
)

KINDS: dict[str, Schema] = {
    "RayCluster": resource("ray.io/v1", "RayCluster", RAY_CLUSTER),
    "RayJob": resource("ray.io/v1", "RayJob", RAY_JOB),
    "RayService": resource("ray.io/v1", "RayService", RAY_SERVICE),
    "NetworkPolicy": resource("networking.k8s.io/v1", "NetworkPolicy", NETWORK_POLICY),
    "PersistentVolumeClaim": resource("v1", "PersistentVolumeClaim", CLAIM),
    "Service": resource("v1", "Service", SERVICE),
    "Deployment": resource("apps/v1", "Deployment", DEPLOYMENT),
}
"""kind → what a resource of it may say"""
