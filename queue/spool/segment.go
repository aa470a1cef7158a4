package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sealpost/sealpost/queue"
)

// A segment is a file "<number>.jobs", numbers from 1 and 19 digits wide: a line
// that names the form, then records of
//
//	4 bytes  length of the job, big endian
//	4 bytes  CRC-32C of the job
//	n bytes  the job's JSON, with its id
//
// Beside it "<number>.sent" holds how many bytes of the segment were sent, as
// text. That file is not flushed: if a crash loses it, jobs are sent again, which
// their ids make harmless.
const (
	magic        = "sealpost spool 1\n"
	headerBytes  = 8
	segmentEnd   = ".jobs"
	sentEnd      = ".sent"
	numberDigits = 19 // of the largest int64
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errTorn says that a record is not whole.
var errTorn = errors.New("record is cut off or damaged")

// segment is an open file of the spool.
type segment struct {
	number int64
	path   string
	file   *os.File
	size   int64 // bytes that are surely good
	sent   int64 // of these, bytes that need not be sent any more
	jobs   int   // not sent yet
	broken bool  // a write failed; nothing more is written to it
}

func appendRecord(to, job []byte) []byte {
	to = binary.BigEndian.AppendUint32(to, uint32(len(job)))
	to = binary.BigEndian.AppendUint32(to, crc32.Checksum(job, castagnoli))
	return append(to, job...)
}

// readRecord reads one record. io.EOF at the end, errTorn if it is not whole.
func readRecord(r io.Reader) (job []byte, err error) {
	var head [headerBytes]byte
	switch n, err := io.ReadFull(r, head[:]); {
	case err == io.EOF && n == 0:
		return nil, io.EOF
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, errTorn
	case err != nil:
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > queue.MaxJobBytes {
		return nil, errTorn
	}
	job = make([]byte, n)
	if _, err := io.ReadFull(r, job); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF {
			return nil, errTorn
		}
		return nil, err
	}
	if crc32.Checksum(job, castagnoli) != binary.BigEndian.Uint32(head[4:]) {
		return nil, errTorn
	}
	return job, nil
}

func segmentPath(dir string, number int64) string {
	return filepath.Join(dir, fmt.Sprintf("%0*d%s", numberDigits, number, segmentEnd))
}

// createSegment makes an empty segment whose name is on disk when it returns.
func createSegment(dir string, number int64) (*segment, error) {
	path := segmentPath(dir, number)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err = f.WriteString(magic); err == nil {
		if err = f.Sync(); err == nil {
			err = syncDir(dir)
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	return &segment{number: number, path: path, file: f, size: int64(len(magic)), sent: int64(len(magic))}, nil
}

// append writes records and flushes them. After an error the file is cut back and
// not written to again: what a failed flush left on disk is not known.
func (s *segment) append(records []byte) error {
	_, err := s.file.WriteAt(records, s.size)
	if err == nil {
		err = s.file.Sync()
	}
	if err != nil {
		s.broken = true
		return errors.Join(err, s.file.Truncate(s.size))
	}
	s.size += int64(len(records))
	return nil
}

// openSegment reads a segment of an earlier process. last says that it is the one
// that was written to: its torn end is cut off. In an older one a bad record is
// damage, since all of it was flushed before the next was begun.
func openSegment(dir string, number int64, last bool) (*segment, error) {
	s := &segment{number: number, path: segmentPath(dir, number)}
	var err error
	if s.file, err = os.OpenFile(s.path, os.O_RDWR, 0); err != nil {
		return nil, err
	}
	if err := s.check(last); err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", filepath.Base(s.path), err), s.file.Close())
	}
	return s, nil
}

// check finds the end of the good records, and counts those that were not sent.
func (s *segment) check(last bool) error {
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(s.file, head); err != nil || string(head) != magic {
		if last && info.Size() < int64(len(magic)) { // cut off while it was made
			s.size, s.sent = int64(len(magic)), int64(len(magic))
			_, err := s.file.WriteAt([]byte(magic), 0)
			return err
		}
		return errors.New("not a file of the spool: move it away to go on without its jobs")
	}
	s.size = int64(len(magic))
	s.sent = max(s.readSent(), s.size)
	r := io.NewSectionReader(s.file, s.size, info.Size()-s.size)
	for {
		job, err := readRecord(r)
		if err == io.EOF {
			break
		}
		if errors.Is(err, errTorn) && last {
			return s.cut()
		}
		if err != nil {
			return fmt.Errorf("at byte %d: %w: move the file away to go on without the rest of its jobs", s.size, err)
		}
		if s.size >= s.sent {
			s.jobs++
		}
		s.size += headerBytes + int64(len(job))
	}
	s.sent = min(s.sent, s.size)
	return nil
}

func (s *segment) cut() error {
	s.sent = min(s.sent, s.size)
	if err := s.file.Truncate(s.size); err != nil {
		return err
	}
	return s.file.Sync()
}

func (s *segment) sentPath() string { return strings.TrimSuffix(s.path, segmentEnd) + sentEnd }

// readSent returns how much was sent, 0 if that is not known.
func (s *segment) readSent() int64 {
	text, err := os.ReadFile(s.sentPath())
	if err != nil || !strings.HasSuffix(string(text), "\n") { // the line is whole or counts for nothing
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// writeSent notes how much was sent, by a rename so that it is never half there.
func (s *segment) writeSent() error {
	next := s.sentPath() + ".new"
	if err := os.WriteFile(next, []byte(strconv.FormatInt(s.sent, 10)+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(next, s.sentPath())
}

// empty takes all records out of a segment that was sent. If a crash loses that,
// they are sent again.
func (s *segment) empty() error {
	if err := os.Remove(s.sentPath()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	s.size, s.sent = int64(len(magic)), int64(len(magic))
	if err := s.file.Truncate(s.size); err != nil {
		s.broken = true
		return err
	}
	return nil
}

// remove deletes a segment that was sent.
func (s *segment) remove() error {
	err := errors.Join(s.file.Close(), os.Remove(s.path))
	if gone := os.Remove(s.sentPath()); gone != nil && !errors.Is(gone, os.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}

// read returns jobs from the first that was not sent on, at most n and up to most
// bytes (but one at least), and the bytes that they take.
func (s *segment) read(n int, most int64) (jobs [][]byte, bytes int64, err error) {
	r := io.NewSectionReader(s.file, s.sent, s.size-s.sent)
	for len(jobs) < n && (bytes < most || len(jobs) == 0) {
		job, err := readRecord(r)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, 0, fmt.Errorf("read spool: %w", err)
		}
		jobs = append(jobs, job)
		bytes += headerBytes + int64(len(job))
	}
	return jobs, bytes, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
