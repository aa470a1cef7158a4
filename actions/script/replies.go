package script

import "github.com/sealpost/sealpost/actions"

// What a person can do about a failure.
const (
	adviceMissing  = "create the analysis or take it out of the job, then sealpost dead retry"
	adviceInactive = "switch it on (sealpost analysis edit ID --active), then sealpost dead retry"
	adviceSeal     = "its record was changed in Redis or belongs to another keyring; restore a backup"
	adviceListen   = "start it where it runs; it listens on /events with its token"
	adviceOff      = "set SEALPOST_SCRIPT_DIR on the workers, or have the analysis listen (run_on external)"
	adviceFile     = "put it right in SEALPOST_SCRIPT_DIR on every worker, then sealpost dead retry"
	adviceLarge    = "a program gets at most 128 KiB in a variable: send less data, or have the analysis listen (run_on external)"
	adviceStart    = "its first line must name an interpreter of this machine (#!/usr/bin/env python3)"
)

// Status words that the table and its callers share.
const (
	statusMissing  = "analysis.missing"
	statusInactive = "analysis.inactive"
	statusBroken   = "store.broken"
	statusStore    = "store.away"
	statusNobody   = "listen.nobody"
	statusPerhaps  = "listen.unknown"
	statusClaim    = "local.claim"
	statusEnded    = "local.ended"
	statusExit     = "exit"
	statusSignal   = "signal"
	statusTimeout  = "timeout"
	statusStopped  = "stopped"
)

// replies is the table of what can come of starting an analysis. Only what
// starting it again cannot mend is for a person; an exit code may be the
// script's way to say that a server it needs is down.
var replies = actions.Table{
	// The analysis.
	{Name: "analysis-missing", Status: statusMissing, Reason: actions.Config, Advice: adviceMissing},
	{Name: "analysis-inactive", Status: statusInactive, Reason: actions.Config, Advice: adviceInactive},
	{Name: "seal-broken", Status: statusBroken, Reason: actions.Config, Advice: adviceSeal},
	{Name: "store", Status: "store.*", Reason: actions.Transient},
	{Name: "claim-lost", Status: statusClaim, Reason: actions.Transient},
	{Name: "attempt-ended", Status: statusEnded, Reason: actions.Transient},

	// One that listens.
	{Name: "nobody-listens", Status: statusNobody, Reason: actions.Transient, Advice: adviceListen},
	{Name: "no-answer", Status: statusPerhaps, Reason: actions.Ambiguous},

	// One that a worker starts.
	{Name: "scripts-off", Status: "file.off", Reason: actions.Config, Advice: adviceOff},
	{Name: "script-file", Status: "file.*", Reason: actions.Config, Advice: adviceFile},
	{Name: "too-large", Status: "start.large", Reason: actions.Config, Advice: adviceLarge},
	{Name: "machine-full", Status: "start.busy", Reason: actions.Transient},
	{Name: "not-started", Status: "start.*", Reason: actions.Config, Advice: adviceStart},
	{Name: "out-of-time", Status: statusTimeout, Reason: actions.Transient},
	{Name: "stopped", Status: statusStopped, Reason: actions.Transient},
	{Name: "killed", Status: statusSignal, Reason: actions.Transient},
	{Name: "failed", Status: statusExit, Reason: actions.Transient},
	{Name: "unlisted", Reason: actions.Transient},
}
