//! After 4 h 39 min RTMP timestamps no longer fit into 24 bits.
//!
//! Nothing to see: one recording without a seam.

#[tokio::test]
async fn over_rtmp() {
    super::case_04::over_the_wire(0xFF_FFFF - 3_000).await;
}
