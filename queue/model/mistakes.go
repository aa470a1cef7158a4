package model

// Mistake is an error that is built in on purpose, to see that it is found.
type Mistake int

// Mistakes that a queue on streams can make. None is the protocol as it is.
const (
	None               Mistake = iota
	AckBeforeSend              // the entry leaves the stream when it is read
	BareDelconsumer            // a consumer is deleted with what it holds
	DedupBeforeJob             // the producer's id is written before the job
	Trim                       // XADD ... MAXLEN
	GroupAtEnd                 // the group starts at $
	RemoveBeforeAdd            // the old place goes before the new one is written
	StealBack                  // a renewal that does not ask who the owner is
	LateFailure                // a delay that does not ask who the owner is
	TakeWithoutIdle            // a takeover that does not ask how long the owner was silent
	LateSuccessRefused         // a success is taken from the owner only
	ForgetParts                // a retry of a dead letter forgets the accepted parts
	FollowLast                 // the job that follows is written after the dead one has left
	ToldWithoutWait            // the producer is told before a replica has the job
	AckBeforeDelete            // XACK before XDEL: this machine found it in the scripts
	FirstEntryLeft             // a late success leaves an entry that a failover brought back: likewise
	DuplicateNoWait            // the same for the answer "duplicate", which wrote nothing that WAIT could wait for

	ProbeForGood       // a probe whose worker died is never given to another
	ProbesForAll       // the script that is asked for the probe does not note whom it gave it
	AskErrorTries      // a job tries a refused credential because it could not ask
	ParkUnchecked      // park does not look for a newer version
	ParkByOldRefusal   // park does not look whether the refusal was taken back
	SweepForgets       // nobody compares parked jobs with the newest version
	GateForgotten      // nobody looks for parked jobs whose refusal is gone
	ProbeOwnPartitions // probes are looked for in the partitions of today's number only
	LeftCounts         // a suspect that is left where it is counts a loss
	LonersTogether     // after the third loss too suspects run together
	SuspectsWait       // suspects are taken over to wait in the process
	BurialAfterAck     // a burial takes the entry away and then writes the dead letter
	ShrunkUnread       // a process reads the partitions of its own number only
	HighestLater       // a producer tells the number of partitions after its first job
	HandbackCounts     // a job that is handed back has used an attempt
)

var mistakes = [...]string{
	"none", "ack before send", "bare DELCONSUMER", "dedup before the job", "MAXLEN", "group created at $", "remove before add",
	"renewal steals back", "late failure reschedules", "takeover without the idle check", "late success refused",
	"retry forgets accepted parts", "follow job after the dead letter", "told before WAIT", "XACK before XDEL",
	"late success leaves the first entry", "duplicate told before WAIT",
	"probe never given back", "a probe for each that asks", "tries when it cannot ask", "park without the check for a newer version",
	"park by a refusal that was taken back", "sweep forgets versions", "no sweep for parked jobs without a refusal",
	"probes from the own partitions only", "a suspect that is left counts a loss", "loners together", "suspects wait in the process",
	"suspect acked before burial", "shrunk partition unread", "number of partitions told after the job", "hand-back counts as attempt",
}

// String names the mistake in a few words.
func (m Mistake) String() string { return mistakes[m] }
