package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"unicode/utf8"
)

// work is what is sold: from a prompt to a result. Put your own here.
type work func(ctx context.Context, prompt string) (string, error)

func newWork(s *settings) work {
	if s.modelURL == "" {
		return sample
	}
	asking := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: s.concurrency}}
	return func(ctx context.Context, prompt string) (string, error) { return askModel(ctx, asking, s, prompt) }
}

// sample is small, true, and the same in every language.
func sample(_ context.Context, prompt string) (string, error) {
	return fmt.Sprintf("%d characters, sha256 %x", utf8.RuneCountInString(prompt), sha256.Sum256([]byte(prompt))), nil
}

// askModel asks an OpenAI-compatible endpoint.
func askModel(ctx context.Context, asking *http.Client, s *settings, prompt string) (string, error) {
	body, err := json.Marshal(map[string]any{
		"model": s.model, "messages": []map[string]string{{"role": "user", "content": prompt}},
	})
	if err != nil {
		return "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.modelURL+"/chat/completions", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/json")
	if s.modelKey != "" {
		request.Header.Set(authorizationField, "Bearer "+s.modelKey)
	}
	answer, err := asking.Do(request)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return "", fmt.Errorf("not done within %v", s.perTask)
		}
		return "", errors.New("the model's endpoint does not answer")
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the model's endpoint answered %d", answer.StatusCode)
	}
	var found struct {
		Choices []struct {
			Message struct {
				Content *string `json:"content"`
			} `json:"message"`
		} `json:"choices"`
	}
	err = json.NewDecoder(io.LimitReader(answer.Body, mostAnswerBytes)).Decode(&found)
	if err != nil || len(found.Choices) == 0 || found.Choices[0].Message.Content == nil {
		return "", errors.New("the model's answer has no choices[0].message.content")
	}
	return *found.Choices[0].Message.Content, nil
}
