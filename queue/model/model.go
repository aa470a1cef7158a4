// Package model is the protocol of queue/DESIGN.md as a machine that tries
// everything: each order of the steps of producers, workers, operators and of
// Redis, a crash or a lost answer at each step, a script that stops after each
// of its writes, a lease that runs out, a failover that loses the last writes.
// A breadth-first search visits every state once and checks what must hold in
// it (check.go); the first state in which it does not hold gives the shortest
// path to it.
//
// It imports nothing of the queue: redis.go says again, in Go, what the scripts
// write and in which order, so a reader can lay one beside the other. What the
// scripts really do is compared with a map by queue/model_test.go.
package model

import "fmt"

// Sizes of the machine. Two copies of a job are enough: a third would need a
// second failover, or a fault more than any instance has.
const (
	maxJobs   = 3
	copies    = 2
	lives     = maxJobs * copies
	workers   = 2
	maxLosses = 2 // lost workers that make a dead letter, unless the instance names another number
)

// Config is one instance: who takes part, and how much may go wrong.
type Config struct {
	Jobs     int   // 1 to 3; producer p makes jobs p and p+2, one after the other
	Parts    int   // recipients of each job, 1 or 2
	Workers  int   // 1 or 2
	Tries    int   // failed attempts that make a dead letter, 1 or 2
	Faults   int   // crashes, lost answers, lost leases, aborts and ambiguous sends, together
	Aborts   bool  // a script may stop after each of its writes, as a fault
	Failover bool  // one failover may lose the newest writes
	Wait     bool  // durability level "replica": a producer is told only what a replica has
	Follow   bool  // the last job has no producer: it follows the death of job 0
	NoID     uint8 // bit of each job whose producer gave no id
	Later    uint8 // bit of each job that has not_before
	People   bool  // an operator retries and removes dead letters, and cancels
	Secret   bool  // version 1 of the credential may be refused, version 2 is not

	Gate       bool // a refused login closes the gate of version 1, which the world may keep for good (Secret false)
	Lane       bool // the destination may not answer: its lane breaks, and one job at a time may try
	Partitions bool // processes start with one partition, go over to two and back to one; copy c of a job is in partition c
	Killer     bool // the two workers are slots of one process, and job 0 kills it
	Losses     int  // lost workers that make a dead letter; 0: maxLosses
	Suspicion  int  // that make a suspect; 0: none is
	Loner      int  // after which a suspect runs alone

	Mistake Mistake
	Most    int // states after which the search gives up; 0: never
}

// Result is what a search found.
type Result struct {
	States int      // distinct ones
	Steps  int      // transitions
	Depth  int      // of the farthest state
	Wrong  string   // what does not hold, "" if all holds everywhere
	Path   []string // steps from the start to the state in which it does not hold
	Cut    bool     // Most was reached
	Beyond int      // steps not followed, as they need more copies of a job than the machine has
}

// String is a result on one line, or a counter-example on several.
func (r Result) String() string {
	text := fmt.Sprintf("%d states, %d steps, depth %d", r.States, r.Steps, r.Depth)
	if r.Wrong == "" {
		return text
	}
	text += "\nWRONG: " + r.Wrong
	for i, step := range r.Path {
		text += fmt.Sprintf("\n%3d  %s", i+1, step)
	}
	return text
}

// produced reports whether a producer makes job j.
func (c *Config) produced(j int) bool { return j < c.Jobs && !(c.Follow && j == c.Jobs-1) }

// follows is the job that follows the death of job j, -1 if none.
func (c *Config) follows(j int) int {
	if c.Follow && j == 0 {
		return c.Jobs - 1
	}
	return -1
}

// losses are the lost workers that make a dead letter.
func (c *Config) losses() int {
	if c.Losses > 0 {
		return c.Losses
	}
	return maxLosses
}

func bit(mask uint8, j int) bool { return mask>>j&1 == 1 }
