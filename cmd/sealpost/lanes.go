package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sealpost/sealpost/queue"
)

// printLanes shows the destinations that are limited, held or broken, and why.
func (a *app) printLanes(list []queue.LaneState) error {
	if len(list) == 0 {
		return nil
	}
	var rows [][]string
	for _, l := range list {
		rows = append(rows, []string{clean(l.Lane), laneState(l), limitText(l.Rate), limitText(float64(l.Connections)), limitText(float64(l.PerConnection)), clean(laneCause(l))})
	}
	return a.printTable([]string{"LANE", "STATE", "JOBS/S", "CONNECTIONS", "PER CONNECTION", "WHY"}, rows)
}

// laneState is what a lane is in, and until when.
func laneState(l queue.LaneState) string {
	switch {
	case !l.BrokenSince.IsZero():
		return fmt.Sprintf("no answer since %s, next try %s", l.BrokenSince.Format(time.RFC3339), l.NextProbe.Format(time.RFC3339))
	case !l.HeldUntil.IsZero():
		return "held until " + l.HeldUntil.Format(time.RFC3339)
	}
	return "limited"
}

// limitText shows a learnt number, or that there is none.
func limitText(n float64) string {
	if n == 0 {
		return "-"
	}
	return strconv.FormatFloat(n, 'g', 3, 64)
}

// laneCause is the code, the rule and the words of the last refusal.
func laneCause(l queue.LaneState) string {
	text := strings.TrimSpace(l.Code + " " + l.Text)
	if l.Rule != "" {
		text += " (" + l.Rule + ")"
	}
	return strings.TrimSpace(text)
}
