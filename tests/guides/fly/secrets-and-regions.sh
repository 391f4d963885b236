# Set Purple Flea credentials — never put these in fly.toml
fly secrets set \
PF_API_KEY=pf_live_your_key_here \
AGENT_WALLET=0xYourWalletAddress \
REFERRAL_CODE=your_referral_code
# Verify secrets are set (values hidden)
fly secrets list
# Rotate key without downtime (Fly does rolling restart)
fly secrets set PF_API_KEY=pf_live_new_rotated_key
# Scale to multiple regions
fly scale count 2 --region lhr
fly scale count 2 --region nrt
fly scale count 1 --region syd
# View machine placement
fly status
