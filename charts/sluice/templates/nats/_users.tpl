{{/* The users of the included NATS server, with the subjects that each needs and no more. docs/nats.md says what each subject is for;
e2e/natsperm proves that everything else is refused, services/local that the services need nothing else. */}}

{{- define "sluice.nats.accounts" -}}
{{- $p := .Values.prefix -}}
accounts: {
  SLUICE: {
    jetstream: enabled
    {{- include "sluice.nats.users" . | nindent 4 }}
    exports: [
      { service: "{{ $p }}.call.*", accounts: [CLIENTS] }
      { service: "{{ $p }}.event.*", accounts: [CLIENTS] }
      { service: "{{ $p }}.job.*", accounts: [CLIENTS] }
      { stream: "{{ $p }}.jobstate.*.*", accounts: [CLIENTS] }
    ]
  }
  # Services of other people, which queue calls, events and job requests themselves, and hear how runs move. An account of their own, because a stream sends its
  # acknowledgement to whatever subject the publisher names: here there is none to harm.
  CLIENTS: {
    users: [
      {
        user: client
        password: $SLUICE_CLIENT_PASSWORD
        permissions: {
          publish: { allow: [
            "{{ $p }}.call.*"
            "{{ $p }}.event.*"
            "{{ $p }}.job.*"
          ] }
          subscribe: { allow: [
            "_INBOX.{{ $p }}.client.>"
            "{{ $p }}.jobstate.*.*"
          ] }
        }
      }
    ]
    imports: [
      { service: { account: SLUICE, subject: "{{ $p }}.call.*" } }
      { service: { account: SLUICE, subject: "{{ $p }}.event.*" } }
      { service: { account: SLUICE, subject: "{{ $p }}.job.*" } }
      { stream: { account: SLUICE, subject: "{{ $p }}.jobstate.*.*" } }
    ]
  }
  # Nobody logs in to it.
  SYSTEM: {}
}
system_account: SYSTEM
{{- end -}}

{{/* sluice.nats.watch is what it takes to read a bucket and to follow it: dict "bucket" "sluice-functions" "keys" ">". */}}
{{- define "sluice.nats.watch" -}}
"$JS.API.CONSUMER.CREATE.KV_{{ .bucket }}.*.$KV.{{ .bucket }}.{{ .keys }}"
"$JS.API.CONSUMER.DELETE.KV_{{ .bucket }}.*"
"$JS.FC.KV_{{ .bucket }}.>"
{{- end -}}

{{/* sluice.nats.make is what it takes to make a stream and to bring its limits up to date: its name. */}}
{{- define "sluice.nats.make" -}}
"$JS.API.STREAM.CREATE.{{ . }}"
"$JS.API.STREAM.UPDATE.{{ . }}"
{{- end -}}

{{- define "sluice.nats.users" -}}
{{- $p := .Values.prefix -}}
{{- $functions := dict "bucket" (printf "%s-functions" $p) "keys" ">" -}}
{{- $attempts := dict "bucket" (printf "%s-attempts" $p) "keys" "*.*" -}}
{{- $inside := dict "bucket" (printf "%s-inside" $p) "keys" ">" -}}
{{- $definitions := dict "bucket" (printf "%s-definitions" $p) "keys" ">" -}}
{{- $runs := dict "bucket" (printf "%s-runs" $p) "keys" ">" -}}
users: [
  # It faces the internet: it makes no stream, because whoever may change one may read and forge what is in others.
  {
    user: gateway
    password: $SLUICE_GATEWAY_PASSWORD
    permissions: {
      publish: { allow: [
        "{{ $p }}.call.*"
        "{{ $p }}.event.*"
        "{{ $p }}.callback.*"
        "{{ $p }}.wake.*"
        "{{ $p }}.activity"
        "$KV.{{ $p }}-attempts.*.*"
        "$KV.{{ $p }}-keys.*"
        "$O.{{ $p }}-bodies.C.*"
        "$O.{{ $p }}-bodies.M.*"
        "$JS.API.STREAM.PURGE.OBJ_{{ $p }}-bodies"
        "$JS.API.STREAM.INFO.{{ $p }}-calls"
        "$JS.API.DIRECT.GET.{{ $p }}-calls"
        "$JS.API.STREAM.INFO.KV_{{ $p }}-attempts"
        "$JS.API.DIRECT.GET.KV_{{ $p }}-attempts.$KV.{{ $p }}-attempts.*.*"
        "$JS.API.STREAM.INFO.KV_{{ $p }}-keys"
        "$JS.API.DIRECT.GET.KV_{{ $p }}-keys.$KV.{{ $p }}-keys.*"
        "$JS.API.STREAM.INFO.KV_{{ $p }}-functions"
        {{- include "sluice.nats.watch" $functions | nindent 8 }}
        "$JS.API.STREAM.INFO.KV_{{ $p }}-inside"
        {{- include "sluice.nats.watch" $inside | nindent 8 }}
        # Jobs.
        "{{ $p }}.job.*"
        "{{ $p }}.joblog.*"
        "{{ $p }}.joblog.*.*"
        "{{ $p }}.run-revision.*.*"
        "$KV.{{ $p }}-runs.*.*"
        "$JS.API.STREAM.INFO.{{ $p }}-jobs"
        "$JS.API.STREAM.INFO.KV_{{ $p }}-runs"
        "$JS.API.STREAM.MSG.GET.KV_{{ $p }}-runs"
        {{- include "sluice.nats.watch" $runs | nindent 8 }}
        "$JS.API.STREAM.MSG.GET.OBJ_{{ $p }}-joblogs"
        "$JS.API.DIRECT.GET.OBJ_{{ $p }}-joblogs"
        "$JS.API.STREAM.INFO.KV_{{ $p }}-definitions"
        {{- include "sluice.nats.watch" $definitions | nindent 8 }}
      ] }
      subscribe: { allow: [
        "_INBOX.{{ $p }}.gateway.>"
        "{{ $p }}.result.*.*"
        "{{ $p }}.revision"
        "{{ $p }}.inside-revision"
        "{{ $p }}.definitions-revision"
        "{{ $p }}.run-revision.*.*"
        "{{ $p }}.joboutput.*"
      ] }
    }
  }
  {
    user: dispatcher
    password: $SLUICE_DISPATCHER_PASSWORD
    permissions: {
      publish: { allow: [
        "{{ $p }}.call.*"
        "{{ $p }}.dead.*"
        "{{ $p }}.result.*.*"
        "{{ $p }}.wake.*"
        "{{ $p }}.activity"
        "$KV.{{ $p }}-attempts.*.*"
        "$O.{{ $p }}-bodies.M.*"
        "$JS.API.INFO"
        {{- include "sluice.nats.make" (printf "%s-calls" $p) | nindent 8 }}
        {{- include "sluice.nats.make" (printf "%s-dead" $p) | nindent 8 }}
        {{- include "sluice.nats.make" (printf "%s-events" $p) | nindent 8 }}
        {{- include "sluice.nats.make" (printf "KV_%s-attempts" $p) | nindent 8 }}
        {{- include "sluice.nats.make" (printf "KV_%s-keys" $p) | nindent 8 }}
        {{- include "sluice.nats.make" (printf "OBJ_%s-bodies" $p) | nindent 8 }}
        "$JS.API.STREAM.INFO.{{ $p }}-calls"
        "$JS.API.STREAM.MSG.GET.{{ $p }}-calls"
        "$JS.API.STREAM.MSG.GET.{{ $p }}-dead"
        "$JS.API.CONSUMER.CREATE.{{ $p }}-calls.*.{{ $p }}.call.*"
        "$JS.API.CONSUMER.INFO.{{ $p }}-calls.*"
        "$JS.API.CONSUMER.RESET.{{ $p }}-calls.*"
        "$JS.API.CONSUMER.MSG.NEXT.{{ $p }}-calls.*"
        "$JS.ACK.{{ $p }}-calls.>"
        "$JS.API.CONSUMER.CREATE.{{ $p }}-events.fanout.{{ $p }}.event.*"
        "$JS.API.CONSUMER.MSG.NEXT.{{ $p }}-events.fanout"
        "$JS.ACK.{{ $p }}-events.>"
        "$JS.API.STREAM.INFO.OBJ_{{ $p }}-bodies"
        "$JS.API.STREAM.MSG.GET.OBJ_{{ $p }}-bodies"
        "$JS.API.STREAM.PURGE.OBJ_{{ $p }}-bodies"
        "$JS.API.DIRECT.GET.OBJ_{{ $p }}-bodies"
        "$JS.API.DIRECT.GET.KV_{{ $p }}-attempts.$KV.{{ $p }}-attempts.*.*"
        {{- include "sluice.nats.watch" $attempts | nindent 8 }}
        "$JS.API.STREAM.INFO.KV_{{ $p }}-functions"
        {{- include "sluice.nats.watch" $functions | nindent 8 }}
      ] }
      subscribe: { allow: [
        "_INBOX.{{ $p }}.dispatcher.>"
        "{{ $p }}.call.*"
        "{{ $p }}.callback.*"
        "{{ $p }}.revision"
      ] }
    }
  }
  {
    user: scaler
    password: $SLUICE_SCALER_PASSWORD
    permissions: {
      publish: { allow: [
        "{{ $p }}.revision"
        "{{ $p }}.inside-revision"
        "$KV.{{ $p }}-functions.*"
        "$KV.{{ $p }}-inside.>"
        "$JS.API.INFO"
        {{- include "sluice.nats.make" (printf "KV_%s-functions" $p) | nindent 8 }}
        {{- include "sluice.nats.make" (printf "KV_%s-inside" $p) | nindent 8 }}
        "$JS.API.STREAM.INFO.{{ $p }}-calls"
        "$JS.API.DIRECT.GET.{{ $p }}-calls"
        {{- include "sluice.nats.watch" $functions | nindent 8 }}
        {{- include "sluice.nats.watch" $inside | nindent 8 }}
      ] }
      subscribe: { allow: [
        "_INBOX.{{ $p }}.scaler.>"
        "{{ $p }}.wake.*"
        "{{ $p }}.activity"
        "{{ $p }}.revision"
        "{{ $p }}.inside-revision"
      ] }
    }
  }
  {{- if .Values.jobrunner.enabled }}
  {
    user: jobrunner
    password: $SLUICE_JOBRUNNER_PASSWORD
    permissions: {
      publish: { allow: [
        "{{ $p }}.job.*"
        "{{ $p }}.deadjob.*"
        "{{ $p }}.jobstate.*.*"
        "{{ $p }}.joboutput.*"
        "{{ $p }}.run-revision.*.*"
        "{{ $p }}.definitions-revision"
        "{{ $p }}.wake.*"
        "{{ $p }}.activity"
        "$KV.{{ $p }}-runs.*.*"
        "$KV.{{ $p }}-definitions.*"
        "$O.{{ $p }}-joblogs.C.*"
        "$O.{{ $p }}-joblogs.M.*"
        "$JS.API.INFO"
        {{- include "sluice.nats.make" (printf "%s-jobs" $p) | nindent 8 }}
        {{- include "sluice.nats.make" (printf "%s-dead" $p) | nindent 8 }}
        {{- include "sluice.nats.make" (printf "KV_%s-runs" $p) | nindent 8 }}
        {{- include "sluice.nats.make" (printf "KV_%s-definitions" $p) | nindent 8 }}
        {{- include "sluice.nats.make" (printf "OBJ_%s-joblogs" $p) | nindent 8 }}
        "$JS.API.STREAM.INFO.{{ $p }}-jobs"
        "$JS.API.STREAM.MSG.DELETE.{{ $p }}-jobs"
        "$JS.API.DIRECT.GET.{{ $p }}-jobs"
        "$JS.API.CONSUMER.CREATE.{{ $p }}-jobs.*.{{ $p }}.job.*"
        "$JS.API.CONSUMER.RESET.{{ $p }}-jobs.*"
        "$JS.API.CONSUMER.MSG.NEXT.{{ $p }}-jobs.*"
        "$JS.ACK.{{ $p }}-jobs.>"
        "$JS.API.STREAM.INFO.KV_{{ $p }}-runs"
        "$JS.API.STREAM.MSG.GET.KV_{{ $p }}-runs"
        {{- include "sluice.nats.watch" $runs | nindent 8 }}
        {{- include "sluice.nats.watch" $definitions | nindent 8 }}
        "$JS.API.STREAM.PURGE.OBJ_{{ $p }}-joblogs"
        "$JS.API.STREAM.MSG.GET.OBJ_{{ $p }}-joblogs"
      ] }
      subscribe: { allow: [
        "_INBOX.{{ $p }}.jobrunner.>"
        "{{ $p }}.job.*"
        "{{ $p }}.joblog.*"
        "{{ $p }}.joblog.*.*"
        "{{ $p }}.run-revision.*.*"
        "{{ $p }}.definitions-revision"
      ] }
    }
  }
  {{- end }}
]
{{- end -}}
