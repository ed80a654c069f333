// Capture files: a load is written to one, for tcpreplay, TRex or pktgen, or is read from one.
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
  // The last call. Errors: DataLoss names the file when its last bytes could not be written. An
  // earlier write that failed may go unseen.
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

constexpr size_t kPayloadMax = 1500;  // bytes of a datagram that is sent or examined

// A UDP datagram in a capture.
struct CapturedDatagram {
  absl::Duration offset;  // from the capture's first datagram; zero for one with an earlier time
  Endpoint from;
  std::vector<uint8_t> payload;
};

// Reads the UDP datagrams of a capture of Ethernet frames, whatever their destination. Packets that
// ReadFrame() cannot read are skipped.
//
// Returns: the datagrams in the file's order; at least one.
// Errors:  each names the file. InvalidArgument when it is no readable capture of Ethernet frames.
//          InvalidArgument with the packet's number when a datagram has more than kPayloadMax
//          bytes; DataLoss with the packet's number when the file is damaged; NotFound when there
//          is no UDP datagram.
absl::StatusOr<std::vector<CapturedDatagram>> ReadCapture(const std::string& file);

}  // namespace wicket::blast
