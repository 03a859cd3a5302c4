package ops

import "slices"

// SlimFaasVariables returns every variable that SlimFaas reads or has read, in the order of the documents. The newer spelling, with
// "__", comes first and wins.
func SlimFaasVariables() []SlimFaasVariable {
	return slices.Concat(honoured, needless)
}

// honoured are those that have a flag.
var honoured = []SlimFaasVariable{
	{
		Names: []string{"SlimFaas__Ports__0", "SLIMFAAS_PORTS"}, Flag: "listen", convert: ports,
		Instead: "The ports become addresses on all interfaces: 5000,8080 is :5000,:8080.",
	},
	{Names: []string{"SlimFaas__CorsAllowOrigin", "SLIMFAAS_CORS_ALLOW_ORIGIN"}, Flag: "cors-allow-origin", convert: asIs, Instead: "As it is, with commas."},
	{
		Names: []string{"SlimFaas__Namespace", "NAMESPACE"}, Flag: "namespace", convert: asIs, common: true,
		Instead: "As it is; where there is no such flag, nothing is said, because many programs have such a variable.",
	},
	{
		Names: []string{"SlimFaas__BaseFunctionUrl", "BASE_FUNCTION_URL"}, Flag: "base-function-url", convert: asIs,
		Instead: "As it is, with the same places to fill in.",
	},
	{
		Names: []string{"SlimFaas__MockKubernetesFunctions", "MOCK_KUBERNETES_FUNCTIONS"}, Flag: "mock-functions", convert: asIs,
		Instead: "As it is; in `sluice local` only, where each function is called at the base function URL.",
	},
	{
		Names: []string{"TIME_MAXIMUM_WAIT_FOR_AT_LEAST_ONE_POD_STARTED_FOR_SYNC_FUNCTION"}, Flag: "start-wait", convert: milliseconds,
		Instead: "Milliseconds become a duration: 10000 is 10s.",
	},
	{
		Names: []string{
			"SlimFaas__PodScaledUpByDefaultWhenInfrastructureHasNeverCalled", "POD_SCALED_UP_BY_DEFAULT_WHEN_INFRASTRUCTURE_HAS_NEVER_CALLED",
		},
		Flag: "start-never-called", convert: toBool, Instead: "true or false, in any case.",
	},
	{
		Names: []string{"Kestrel__Limits__MaxRequestBodySize", "SLIMFASS_MAX_REQUEST_BODY_SIZE"}, Flag: "async-body-limit", convert: wholeNumber,
		Instead: "Bytes. It limits queued calls; the body of a sync call is passed on as it comes and needs no limit. (The older name is spelled so.)",
	},
	{
		Names: []string{"SlimFaas__JobsConfiguration", "SLIMFAAS_JOBS_CONFIGURATION"}, Flag: "jobs-configuration", convert: asIs,
		Instead: "As it is, with any whitespace. In `sluice local` no image is run: there a job is a manifest with sluice/LocalCommand.",
	},
}

const (
	noPolling   = "Nothing is polled here: the same happens at once."
	noStore     = "State is in NATS JetStream (--nats, or --data of `sluice local`)."
	noDashboard = "The stream of states takes no such settings."
	noRaft      = "Sluice has no Raft of its own: NATS JetStream has."
)

// needless are those without a flag.
var needless = []SlimFaasVariable{
	{
		Names:   []string{"SlimFaas__BaseFunctionPodUrl", "BASE_FUNCTION_POD_URL"},
		Instead: "An event goes to the address of each ready replica, or to that of --base-function-url.",
	},
	{Names: []string{"SLIMFAAS_SUBSCRIBE_EVENTS"}, Instead: "Functions subscribe with the annotation SubscribeEvents; one outside of the cluster can be a function with sluice/LocalURL."},
	{Names: []string{"SlimFaas__AllowUnsecureSsl", "SLIMFAAS_ALLOW_UNSECURE_SSL"}, Instead: "Functions are called without TLS: a mesh may add it."},
	{Names: []string{"SlimFaas__Orchestrator", "SLIMFAAS_ORCHESTRATOR"}, Instead: "The program decides: sluice-scaler is for Kubernetes, `sluice local` for processes and containers that run already."},
	{Names: []string{"SlimFaas__Hostname", "HOSTNAME"}, Instead: "The host's name is asked of the system.", common: true},
	{Names: []string{"SLIMFAAS_PORT"}, Instead: "Addresses are set with --listen.", theirs: isServiceLink},
	{Names: []string{"ASPNETCORE_URLS", "ASPNETCORE_HTTP_PORTS"}, Instead: "Addresses are set with --listen."},
	{Names: []string{"SlimFaas__WebSocketPort"}, Instead: "Clients over WebSocket are not part of this version."},
	{Names: []string{"SlimFaas__EnableFront"}, Instead: "The live page is not part of this version."},
	{Names: []string{"SlimFaas__StatusStream__*"}, Instead: noDashboard},
	{Names: []string{"SlimFaas__MetricsScraping__*"}, Instead: "Sluice scrapes no pods: queries go to the Prometheus server of --prometheus-url."},
	{Names: []string{"SlimFaas__RateLimiting__*", "RateLimiting__*"}, Instead: "Nothing is refused by the load of the processor: --body-budget bounds memory, --queue-limit the queue of each function."},
	{Names: []string{"SlimFaas__Local__*", "SlimFaas__Process__*"}, Instead: "`sluice local` reads the manifests of the cluster."},
	{Names: []string{"UseKubeConfig"}, Instead: "--kubeconfig of sluice-scaler names the file."},
	{Names: []string{"SLIMFAAS_DOCKER_HOST"}, Instead: "Sluice starts no containers: functions of a compose file are there already (--mock-functions)."},

	{Names: []string{"Workers__QueuesDelayMilliseconds", "Workers__DelayMilliseconds", "SLIM_WORKER_DELAY_MILLISECONDS"}, Instead: noPolling},
	{Names: []string{"Workers__JobsDelayMilliseconds", "SLIM_JOBS_WORKER_DELAY_MILLISECONDS"}, Instead: noPolling},
	{Names: []string{"Workers__JobsConfigurationDelayMilliseconds"}, Instead: noPolling},
	{
		Names:   []string{"Workers__ReplicasSynchronizationDelayMilliseconds", "REPLICAS_SYNCHRONISATION_WORKER_DELAY_MILLISECONDS"},
		Instead: noPolling,
	},
	{Names: []string{"Workers__HistorySynchronizationDelayMilliseconds", "HISTORY_SYNCHRONISATION_WORKER_DELAY_MILLISECONDS"}, Instead: noPolling},
	{Names: []string{"Workers__ScaleReplicasDelayMilliseconds", "SCALE_REPLICAS_WORKER_DELAY_MILLISECONDS"}, Instead: noPolling},
	{Names: []string{"Workers__HealthDelayMilliseconds", "HEALTH_WORKER_DELAY_MILLISECONDS"}, Instead: "Health is asked for when /health is: --stuck-after says when a dispatcher is unhealthy."},
	{Names: []string{"Workers__HealthDelayToExitSeconds", "HEALTH_WORKER_DELAY_TO_EXIT_SECONDS"}, Instead: "A process does not end itself: the liveness probe decides."},
	{
		Names:   []string{"Workers__HealthDelayToStartHealthCheckSeconds", "HEALTH_WORKER_DELAY_TO_START_HEALTH_CHECK_SECONDS"},
		Instead: "The liveness probe's own initialDelaySeconds says it.",
	},

	{Names: []string{"SlimFaas__BaseSlimDataUrl", "BASE_SLIMDATA_URL"}, Instead: noStore},
	{Names: []string{"SlimData__Directory", "SLIMDATA_DIRECTORY"}, Instead: noStore},
	{Names: []string{"SlimData__Configuration", "SLIMDATA_CONFIGURATION"}, Instead: noRaft},
	{Names: []string{"SLIMDATA_PORT"}, Instead: noRaft, theirs: isServiceLink},
	{Names: []string{"SlimData__AllowColdStart"}, Instead: noRaft},
	{Names: []string{"SlimData__WarmupRounds"}, Instead: noRaft},
	{Names: []string{"SlimData__WalMemoryManagement"}, Instead: noRaft},
	{Names: []string{"SlimData__SnapshotIntervalEntries", "SlimData__SnapshotIntervalBytes"}, Instead: noRaft},
	{Names: []string{"SlimData__BatchMode", "SlimData__BatchPartitionCount"}, Instead: noRaft},
	{Names: []string{"SlimData__LowLoadFastPath", "SlimData__LowLoadRequestsPerSecond"}, Instead: noRaft},
	{Names: []string{"SlimData__QueueLowLatencyEnabled", "SlimData__QueueMutationMaxWaitMilliseconds"}, Instead: noRaft},
	{Names: []string{"SlimData__BackupDirectory", "SlimData__BackupIntervalSeconds"}, Instead: "Streams and buckets are backed up with the tools of NATS (`nats account backup`)."},
	{Names: []string{"SlimData__Files__*"}, Instead: "Temporary files are not part of this version."},
	{Names: []string{"SlimData__Membership__*"}, Instead: noRaft},
	{Names: []string{"RaftClientHandler__*", "SLIMDATA_SOCKETS_HTTP_HANDLER_TIMEOUT"}, Instead: noRaft},
	{Names: []string{"Data__DefaultVisibility"}, Instead: "The routes below /data are not part of this version."},
	{Names: []string{"MOCK_SLIMDATA", "MOCK_REDIS", "REDIS_CONNECTION_STRING"}, Instead: noStore},

	{Names: []string{"OpenTelemetry__*"}, Instead: "Traces are not part of this version; metrics are at /metrics on the ops port, for any collector."},
	{Names: []string{"Logging__*"}, Instead: "--log-level and --log-format say what is logged and how."},
	{Names: []string{"Kestrel__*"}, Instead: "Timeouts of connections are fixed; --listen has the addresses."},
	{Names: []string{"AllowedHosts"}, Instead: "Any host name is answered: an ingress may decide."},
	{Names: []string{"ASPNETCORE_ENVIRONMENT", "DOTNET_ENVIRONMENT"}, Instead: "There are no settings for each environment.", common: true},
}
