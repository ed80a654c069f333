// Loads as capture files: written for tcpreplay, TRex and pktgen, and read to be replayed.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/status.h"
#include "tools/blast/frame.h"

typedef struct pcap pcap_t;
typedef struct pcap_dumper pcap_dumper_t;

namespace wicket::blast {

// Ethernet frames with nanosecond times. Thread: one.
class CaptureWriter {
 public:
  // Errors: names the file.
  static absl::StatusOr<CaptureWriter> Create(const std::string& file);

  void Write(absl::Time at, std::span<const uint8_t> frame);
  // Errors: the disk's.
  absl::Status Close();

 private:
  struct CloseCapture {
    void operator()(pcap_t* pcap) const;
  };
  struct CloseDumper {
    void operator()(pcap_dumper_t* dumper) const;
  };
  std::string file_;
  std::unique_ptr<pcap_t, CloseCapture> pcap_;
  std::unique_ptr<pcap_dumper_t, CloseDumper> dumper_;
};

constexpr size_t kPayloadMax = 1500;  // of what is sent or looked at

// A datagram out of a capture.
struct CapturedDatagram {
  absl::Duration offset;  // from the first of them
  Endpoint from;
  std::vector<uint8_t> payload;
};

// The UDP datagrams in a capture of Ethernet frames, in their order, whomever they were to.
// Errors: names the file, and the packet it is damaged at, or which is too large; NotFound when it
// holds none.
absl::StatusOr<std::vector<CapturedDatagram>> ReadCapture(const std::string& file);

}  // namespace wicket::blast
